//! A node that serves a recorded block as if it were mined now, behind and before empty blocks that nobody recorded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

pub mod evm;
pub mod solana;

/// What a node says of a recorded block and the empty ones around it. Blocks are named by their heights.
pub trait Recording: Send + Sync {
    /// The height of the recorded block. The lowest block stands right below it.
    fn height(&self) -> u64;

    /// The result of a call while `head` is the newest block. `None` if the node knows no such call.
    fn answer(&self, head: u64, method: &str, params: &Value) -> Option<Value>;
}

/// A running node. It ends when this is dropped.
pub struct Replay {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
    handle: actix_web::dev::ServerHandle,
}

struct Shared {
    recording: Box<dyn Recording>,
    head: AtomicU64,
    /// What each method was called with, in order.
    asked: Mutex<BTreeMap<String, Vec<Value>>>,
}

/// So many blocks below the newest one a block is final.
const FINAL_BELOW: u64 = 2;

/// The newest final block, where none stands below `lowest`.
fn finalized(head: u64, lowest: u64) -> u64 {
    head.saturating_sub(FINAL_BELOW).max(lowest)
}

impl Replay {
    /// A node whose newest block is the empty one below the recorded one.
    pub fn start(recording: impl Recording + 'static) -> Self {
        let head = AtomicU64::new(recording.height() - 1);
        let shared = Arc::new(Shared { recording: Box::new(recording), head, asked: Mutex::default() });
        let data = web::Data::from(Arc::clone(&shared));
        let server = HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::post().to(handle)))
            .workers(1)
            .disable_signals()
            .bind("127.0.0.1:0")
            .expect("a free port");
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url: format!("http://{address}"), shared, handle }
    }

    /// The height of its newest block.
    pub fn head(&self) -> u64 {
        self.shared.head.load(Ordering::SeqCst)
    }

    /// Shows so many more blocks at once, the recorded one first.
    pub fn show(&self, blocks: u64) {
        self.shared.head.fetch_add(blocks, Ordering::SeqCst);
    }

    /// What a method was called with so far, in order.
    pub fn asked(&self, method: &str) -> Vec<Value> {
        self.shared.asked.lock().expect("no panic under the lock").get(method).cloned().unwrap_or_default()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { handle.stop(false).await });
        }
    }
}

async fn handle(shared: web::Data<Shared>, call: web::Json<Value>) -> HttpResponse {
    let (method, params) = (call["method"].as_str().unwrap_or_default(), &call["params"]);
    shared.asked.lock().expect("no panic under the lock").entry(method.to_owned()).or_default().push(params.clone());
    let mut answer = json!({"jsonrpc": "2.0", "id": call["id"]});
    match shared.recording.answer(shared.head.load(Ordering::SeqCst), method, params) {
        Some(result) => answer["result"] = result,
        None => answer["error"] = json!({"code": -32601, "message": format!("{method} was not recorded")}),
    }
    HttpResponse::Ok().json(answer)
}

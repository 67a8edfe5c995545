//! A JSON-RPC proxy in front of a node: counts calls, and misbehaves on request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio::sync::watch;

/// What the proxy does with a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Hands it on and hands the answer back.
    Forward,
    /// Hands it on, and closes the connection instead of answering.
    DropAnswer,
    /// Does not hand it on, and closes the connection.
    Swallow,
    /// Does not hand it on, and answers with this.
    Answer(Value),
    /// Hands it on, and changes the answer.
    Edit(Edit),
    /// Hands it on with other parameters.
    Rewrite(Value),
    /// Both: hands it on with other parameters, and changes the answer.
    Translate(Value, Edit),
    /// Does not hand it on, and answers with an HTTP status.
    Status(u16),
    /// Hands it on after a while.
    Delay(Duration),
    /// Hands it on, and hands the answer back after a while.
    DelayAnswer(Duration),
    /// Hands it on, and hands the answer back after [`Proxy::release`].
    Hold,
    /// Hands it on, and answers never (until the client gives up).
    Hang,
}

/// A change of what a node answered.
#[derive(Clone)]
pub struct Edit(Arc<dyn Fn(&mut Value) + Send + Sync>);

impl Edit {
    /// Changes the result of a call.
    pub fn of(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Act {
        Act::Edit(Self(Arc::new(change)))
    }

    /// The same of a call that is handed on with other parameters.
    pub fn translated(params: Value, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Act {
        Act::Translate(params, Self(Arc::new(change)))
    }
}

impl std::fmt::Debug for Edit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Edit")
    }
}

impl PartialEq for Edit {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Act {
    /// Whether the node gets the call.
    const fn hands_on(&self) -> bool {
        !matches!(self, Self::Swallow | Self::Answer(_) | Self::Status(_))
    }
}

/// How transactions are handed to a node.
const SENDS: [&str; 2] = ["eth_sendRawTransaction", "sendTransaction"];

type Rule = Box<dyn Fn(&str, &Value, u64) -> Act + Send>;

/// A running proxy. It ends when this is dropped.
pub struct Proxy {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
    handle: actix_web::dev::ServerHandle,
}

struct Shared {
    node: String,
    client: reqwest::Client,
    rule: Mutex<Rule>,
    calls: Mutex<BTreeMap<String, u64>>,
    /// Each time that a transaction came, and whether the node got it.
    sends: Mutex<Vec<(String, bool)>>,
    last: Mutex<BTreeMap<String, Value>>,
    /// Answers that were held back so far.
    held: AtomicU64,
    /// Grows when they are let go.
    released: watch::Sender<u64>,
}

impl Proxy {
    /// A proxy that hands everything on.
    pub fn start(node: &str) -> Self {
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            client: super::http_client(),
            rule: Mutex::new(Box::new(|_, _, _| Act::Forward)),
            calls: Mutex::default(),
            sends: Mutex::default(),
            last: Mutex::default(),
            held: AtomicU64::new(0),
            released: watch::Sender::new(0),
        });
        let data = web::Data::from(Arc::clone(&shared));
        let server = HttpServer::new(move || {
            App::new().app_data(data.clone()).app_data(web::PayloadConfig::new(64 << 20)).default_service(web::post().to(handle))
        })
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

    /// From now on `rule(method, params, nth call of this method, from 1)` decides.
    pub fn rule(&self, rule: impl Fn(&str, &Value, u64) -> Act + Send + 'static) {
        *self.shared.rule.lock().expect("no panic under the lock") = Box::new(rule);
    }

    /// Hands everything on again.
    pub fn behave(&self) {
        self.rule(|_, _, _| Act::Forward);
    }

    /// How many answers were held back so far: the node has given them.
    pub fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Lets the answers go that are held back.
    pub fn release(&self) {
        self.shared.released.send_modify(|released| *released += 1);
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> u64 {
        self.shared.calls.lock().expect("no panic under the lock").get(method).copied().unwrap_or(0)
    }

    /// How often each method was called.
    pub fn all_calls(&self) -> BTreeMap<String, u64> {
        self.shared.calls.lock().expect("no panic under the lock").clone()
    }

    /// Begins counting anew.
    pub fn reset(&self) {
        self.shared.calls.lock().expect("no panic under the lock").clear();
        self.shared.sends.lock().expect("no panic under the lock").clear();
    }

    /// What a method was called with last.
    pub fn last_params(&self, method: &str) -> Option<Value> {
        self.shared.last.lock().expect("no panic under the lock").get(method).cloned()
    }

    /// The transactions that came to be sent, each once, in order.
    pub fn sent(&self) -> Vec<String> {
        self.transactions(|_| true)
    }

    /// How many transactions came to be sent, each as often as it came.
    pub fn times_sent(&self) -> usize {
        self.shared.sends.lock().expect("no panic under the lock").len()
    }

    /// Those of them that the node got.
    pub fn handed_on(&self) -> Vec<String> {
        self.transactions(|handed_on| handed_on)
    }

    fn transactions(&self, wanted: impl Fn(bool) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for (raw, handed_on) in self.shared.sends.lock().expect("no panic under the lock").iter() {
            if wanted(*handed_on) && !found.contains(raw) {
                found.push(raw.clone());
            }
        }
        found
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { handle.stop(false).await });
        }
    }
}

async fn handle(shared: web::Data<Shared>, body: web::Bytes) -> actix_web::Result<HttpResponse> {
    let request: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let calls: Vec<&Value> = request.as_array().map_or_else(|| vec![&request], |calls| calls.iter().collect());
    let mut act = Act::Forward;
    for call in calls {
        let method = call["method"].as_str().unwrap_or_default().to_owned();
        let count = {
            let mut calls = shared.calls.lock().expect("no panic under the lock");
            let count = calls.entry(method.clone()).or_insert(0);
            *count += 1;
            *count
        };
        shared.last.lock().expect("no panic under the lock").insert(method.clone(), call["params"].clone());
        let wanted = (shared.rule.lock().expect("no panic under the lock"))(&method, &call["params"], count);
        if SENDS.contains(&method.as_str()) {
            let raw = call["params"][0].as_str().unwrap_or_default().to_owned();
            shared.sends.lock().expect("no panic under the lock").push((raw, wanted.hands_on()));
        }
        if wanted != Act::Forward {
            act = wanted;
        }
    }
    let broken = || actix_web::error::ErrorInternalServerError("the proxy closes");
    match act {
        Act::Forward => forward(&shared, body).await,
        Act::Edit(edit) => edited(&shared, body, &edit).await,
        Act::Translate(params, edit) => {
            let mut request = request;
            request["params"] = params;
            edited(&shared, request.to_string().into(), &edit).await
        }
        Act::Rewrite(params) => {
            let mut request = request;
            request["params"] = params;
            forward(&shared, request.to_string().into()).await
        }
        Act::Delay(while_) => {
            tokio::time::sleep(while_).await;
            forward(&shared, body).await
        }
        Act::DelayAnswer(while_) => {
            let answer = forward(&shared, body).await;
            tokio::time::sleep(while_).await;
            answer
        }
        Act::Hold => {
            let mut released = shared.released.subscribe();
            let answer = forward(&shared, body).await;
            shared.held.fetch_add(1, Ordering::SeqCst);
            drop(released.changed().await);
            answer
        }
        Act::DropAnswer => {
            drop(forward(&shared, body).await?);
            Err(close(broken()))
        }
        Act::Hang => {
            drop(forward(&shared, body).await?);
            std::future::pending().await
        }
        Act::Swallow => Err(close(broken())),
        Act::Answer(answer) => {
            let mut answer = answer;
            if answer.get("jsonrpc").is_none() {
                answer = json!({"jsonrpc": "2.0", "result": answer});
            }
            answer["id"] = request["id"].clone();
            Ok(HttpResponse::Ok().json(answer))
        }
        Act::Status(status) => Ok(HttpResponse::build(actix_web::http::StatusCode::from_u16(status).expect("a status")).finish()),
    }
}

/// An answer that ends in the middle, which is what a dropped connection looks like to a client.
fn close(error: actix_web::Error) -> actix_web::Error {
    let body = futures_util::stream::once(async { Err::<web::Bytes, _>(std::io::Error::other("closed")) });
    actix_web::error::InternalError::from_response(error, HttpResponse::Ok().streaming(body)).into()
}

async fn edited(shared: &Shared, body: web::Bytes, edit: &Edit) -> actix_web::Result<HttpResponse> {
    let bytes = answer_of(shared, body).await?;
    let mut answer: Value = serde_json::from_slice(&bytes)?;
    (edit.0)(&mut answer["result"]);
    Ok(HttpResponse::Ok().json(answer))
}

async fn forward(shared: &Shared, body: web::Bytes) -> actix_web::Result<HttpResponse> {
    let bytes = answer_of(shared, body).await?;
    Ok(HttpResponse::Ok().content_type("application/json").body(bytes))
}

async fn answer_of(shared: &Shared, body: web::Bytes) -> actix_web::Result<web::Bytes> {
    let answer = shared.client.post(&shared.node).header("content-type", "application/json").body(body).send().await;
    let answer = answer.map_err(actix_web::error::ErrorBadGateway)?;
    answer.bytes().await.map_err(actix_web::error::ErrorBadGateway)
}

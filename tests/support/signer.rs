//! A server that keeps keys of signers and really signs with them, by our protocol and as Google does; and that misbehaves on request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use alloy::hex;
use alloy::primitives::{B256, Signature, U256, uint};
use alloy::signers::SignerSync;
use alloy::signers::k256::ecdsa;
use alloy::signers::local::PrivateKeySigner;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use quittance::domain::address::decode_base58_pair;
use serde_json::{Value, json};

/// What shows the server who asks.
pub const TOKEN: &str = "token-of-the-signing-server";

/// The order of secp256k1.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

/// What the server does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Signs what it is asked for. Every second signature has a high `s`, as half of those have that services make.
    Signs,
    /// Signs something else.
    SignsElse,
    /// Signs with a key of its own.
    SignsAsAnother,
    /// Signs, but no message with this in it.
    Refuses(&'static str),
    /// Answers with a status, and with what it was asked in the body.
    Says(u16),
    /// Answers with what is no signature.
    Babbles,
    /// Answers with more than anybody reads.
    Floods,
    /// Sends whoever asks to somebody else.
    Redirects,
    /// Signs, and never answers.
    IsSilent,
}

/// The server. It ends when this is dropped.
pub struct SigningServer {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
    handle: actix_web::dev::ServerHandle,
}

struct Shared {
    secp256k1: BTreeMap<String, PrivateKeySigner>,
    ed25519: BTreeMap<String, SigningKey>,
    manner: Mutex<Manner>,
    asked: AtomicU64,
    signed: AtomicU64,
    /// How often the machine's token was exchanged before its time.
    exchanged: AtomicU64,
}

impl SigningServer {
    /// A server with these keys by name: of EVM networks in hexadecimal digits, or of Solana in base58.
    pub fn start(keys: &[(&str, &str)]) -> Self {
        let (mut secp256k1, mut ed25519) = (BTreeMap::new(), BTreeMap::new());
        for (name, key) in keys {
            match decode_base58_pair(key) {
                Some(pair) => {
                    let key = SigningKey::from_keypair_bytes(&pair).expect("a key");
                    drop(ed25519.insert((*name).to_owned(), key));
                }
                None => drop(secp256k1.insert((*name).to_owned(), key.parse().expect("a key"))),
            }
        }
        let manner = Mutex::new(Manner::Signs);
        let shared = Arc::new(Shared {
            secp256k1,
            ed25519,
            manner,
            asked: AtomicU64::new(0),
            signed: AtomicU64::new(0),
            exchanged: AtomicU64::new(0),
        });
        let data = web::Data::from(Arc::clone(&shared));
        let server = HttpServer::new(move || {
            let google = web::resource("/v1/{key:.*}:asymmetricSign").route(web::post().to(sign_as_google));
            App::new()
                .app_data(data.clone())
                .route("/sign", web::post().to(sign))
                .route("/token", web::get().to(token))
                .route("/elsewhere", web::to(HttpResponse::Ok))
                .service(google)
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .expect("a free port");
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url, shared, handle }
    }

    /// What it does from now on.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().expect("no panic under the lock") = manner;
    }

    /// From now on only another token is taken, which the machine has if it is asked for it again.
    pub fn exchange_token(&self) {
        self.shared.exchanged.fetch_add(1, Ordering::SeqCst);
    }

    /// How often it was asked for a signature by somebody who may ask.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// A table `signers` entry of the configuration for one of its keys.
    pub fn signer(&self, name: &str, address: &str) -> String {
        let url = format!("{}/sign", self.url);
        format!(
            "{{ name = {name:?}, address = {address:?}, remote = {{ url = {url:?}, key_id = {name:?}, token = {TOKEN:?} }} }}"
        )
    }
}

impl Drop for SigningServer {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { handle.stop(false).await });
        }
    }
}

fn may_ask(shared: &Shared, request: &HttpRequest) -> bool {
    let expected = format!("Bearer {}", shared.token());
    request.headers().get(AUTHORIZATION).is_some_and(|header| header.as_bytes() == expected.as_bytes())
}

fn refusal(status: StatusCode, code: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({"code": code}))
}

/// What the server does instead of signing, or before it does.
async fn misbehave(shared: &Shared, body: &Value) -> Option<HttpResponse> {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let manner = *shared.manner.lock().expect("no panic under the lock");
    match manner {
        Manner::Signs | Manner::SignsElse | Manner::SignsAsAnother | Manner::Refuses(_) => None,
        Manner::Says(status) => Some(HttpResponse::build(StatusCode::from_u16(status).expect("a status")).json(body)),
        Manner::Babbles => Some(HttpResponse::Ok().json(json!({"signature": "0xabcd"}))),
        Manner::Floods => Some(HttpResponse::Ok().body(vec![b' '; 8 << 20])),
        Manner::Redirects => Some(HttpResponse::TemporaryRedirect().insert_header(("location", "/elsewhere")).finish()),
        Manner::IsSilent => std::future::pending().await,
    }
}

impl Shared {
    fn token(&self) -> String {
        match self.exchanged.load(Ordering::SeqCst) {
            0 => TOKEN.to_owned(),
            times => format!("{TOKEN}-{times}"),
        }
    }

    fn manner(&self) -> Manner {
        *self.manner.lock().expect("no panic under the lock")
    }

    /// A signature over the digest, or over something else.
    fn ecdsa(&self, name: &str, digest: B256) -> Option<Signature> {
        let key = self.secp256k1.get(name)?;
        let signature = match self.manner() {
            Manner::SignsElse => key.sign_hash_sync(&B256::repeat_byte(7)),
            Manner::SignsAsAnother => PrivateKeySigner::random().sign_hash_sync(&digest),
            _ => key.sign_hash_sync(&digest),
        };
        let signature = signature.expect("it signs");
        let is_turn = self.signed.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        Some(if is_turn { Signature::new(signature.r(), ORDER - signature.s(), !signature.v()) } else { signature })
    }

    fn eddsa(&self, name: &str, message: &[u8]) -> Option<[u8; 64]> {
        let key = self.ed25519.get(name)?;
        Some(match self.manner() {
            Manner::SignsElse => key.sign(b"something else").to_bytes(),
            Manner::SignsAsAnother => SigningKey::from_bytes(&[7; 32]).sign(message).to_bytes(),
            Manner::Refuses(word) if message.windows(word.len()).any(|part| part == word.as_bytes()) => return None,
            _ => key.sign(message).to_bytes(),
        })
    }
}

/// Our protocol, as docs/SIGNERS.md has it.
async fn sign(shared: web::Data<Shared>, request: HttpRequest, body: web::Json<Value>) -> HttpResponse {
    if !may_ask(&shared, &request) {
        return refusal(StatusCode::UNAUTHORIZED, "unknown_token");
    }
    if let Some(answer) = misbehave(&shared, &body).await {
        return answer;
    }
    let name = body["key"].as_str().unwrap_or_default();
    let bytes = |member: &str| hex::decode(body[member].as_str()?).ok();
    let signature = match body["curve"].as_str() {
        Some("secp256k1") => bytes("digest").and_then(|digest| {
            let signature = shared.ecdsa(name, B256::try_from(digest.as_slice()).ok()?)?;
            Some(hex::encode_prefixed(signature.as_bytes()))
        }),
        Some("ed25519") => bytes("message").and_then(|message| shared.eddsa(name, &message).map(hex::encode_prefixed)),
        _ => return refusal(StatusCode::BAD_REQUEST, "unknown_curve"),
    };
    match signature {
        Some(signature) => HttpResponse::Ok().json(json!({"signature": signature})),
        None => refusal(StatusCode::NOT_FOUND, "unknown_key"),
    }
}

/// A machine's own token, as the metadata server of Google's has it.
async fn token(shared: web::Data<Shared>, request: HttpRequest) -> HttpResponse {
    if request.headers().get("metadata-flavor").is_none_or(|flavor| flavor != "Google") {
        return HttpResponse::Forbidden().finish();
    }
    HttpResponse::Ok().json(json!({"access_token": shared.token(), "expires_in": 3599, "token_type": "Bearer"}))
}

/// `asymmetricSign` of Cloud KMS.
async fn sign_as_google(
    shared: web::Data<Shared>,
    request: HttpRequest,
    key: web::Path<String>,
    body: web::Json<Value>,
) -> HttpResponse {
    if !may_ask(&shared, &request) {
        let error = json!({"error": {"code": 401, "message": "…", "status": "UNAUTHENTICATED"}});
        return HttpResponse::Unauthorized().json(error);
    }
    if let Some(answer) = misbehave(&shared, &body).await {
        return answer;
    }
    let digest = body["digest"]["sha256"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let digest = digest.and_then(|digest| B256::try_from(digest.as_slice()).ok());
    let Some(signature) = digest.and_then(|digest| shared.ecdsa(&key, digest)) else {
        let error = json!({"error": {"code": 404, "message": "…", "status": "NOT_FOUND"}});
        return HttpResponse::NotFound().json(error);
    };
    let signature = ecdsa::Signature::from_slice(&signature.as_bytes()[..64]).expect("a signature");
    HttpResponse::Ok().json(json!({"signature": STANDARD.encode(signature.to_der()), "name": key.as_str()}))
}

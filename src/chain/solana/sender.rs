//! How one call reaches a node.
//!
//! The SDK's own sender waits and tries again, for seconds, where a node has had enough of us. Here such a node has failed like any
//! other, and the next one is asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use solana_client::client_error::Result;
use solana_client::client_error::reqwest::Client;
use solana_client::rpc_request::{RpcError, RpcRequest, RpcResponseErrorData};
use solana_client::rpc_sender::{RpcSender, RpcTransportStats};

/// The way to one node.
pub struct Sender {
    http: Client,
    url: String,
    calls: AtomicU64,
}

/// The part of an answer that is read.
#[derive(Deserialize)]
struct Answer {
    result: Option<Value>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    message: String,
}

impl Sender {
    /// Connections for all nodes of a network.
    pub fn http(timeout: Duration) -> Client {
        let client = Client::builder().timeout(timeout).pool_idle_timeout(timeout).build();
        client.expect("TLS and the roots that it trusts are compiled in")
    }

    /// The way to the node at an address.
    pub fn new(http: &Client, url: &str) -> Self {
        Self { http: http.clone(), url: url.to_owned(), calls: AtomicU64::default() }
    }
}

#[async_trait]
impl RpcSender for Sender {
    async fn send(&self, request: RpcRequest, params: Value) -> Result<Value> {
        let call = request.build_request_json(self.calls.fetch_add(1, Ordering::Relaxed), params);
        let answer: Answer = self.http.post(&self.url).json(&call).send().await?.error_for_status()?.json().await?;
        match answer.error {
            Some(ErrorObject { code, message }) => {
                Err(RpcError::RpcResponseError { code, message, data: RpcResponseErrorData::Empty }.into())
            }
            None => Ok(answer.result.unwrap_or_default()),
        }
    }

    /// Our own metrics count calls.
    fn get_transport_stats(&self) -> RpcTransportStats {
        RpcTransportStats::default()
    }

    fn url(&self) -> String {
        self.url.clone()
    }
}

//! Calls to the nodes of a cluster.
//!
//! A node must name the configured cluster by its genesis hash before anything that it says is believed, at the start and after
//! every failure. Reads go to one node and fail over to the next; transactions go to all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use solana_client::client_error::{ClientError, ClientErrorKind};
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_client::rpc_client::RpcClientConfig;
use solana_client::rpc_request::{RpcError, RpcRequest};

use super::sender::Sender;
use crate::chain::ChainError;
use crate::chain::nodes::{CallError, Complaint, NodeFailure, Rotation};
use crate::config::NetworkConfig;
use crate::domain::network::Network;
use crate::metrics::{Metrics, RpcOutcome};

/// A CAIP-2 identifier has so many characters of a cluster's genesis hash.
const GENESIS_CHARS: usize = 32;

/// What a node says when it is behind the others, or has not got what it should have: its own trouble, not the caller's. Of a slot
/// that it jumped over it says that it was skipped (-32007, -32009).
const NODE_TROUBLES: [i64; 9] = [-32001, -32004, -32005, -32007, -32008, -32009, -32011, -32014, -32016];

/// What it says of a slot without a block, or without one yet.
const NO_BLOCK: [i64; 4] = [-32004, -32007, -32009, -32014];

/// The nodes of one cluster.
pub struct Nodes {
    network: Network,
    /// What the genesis hash must be, or begin with.
    genesis: String,
    timeout: Duration,
    list: Vec<Node>,
    rotation: Rotation,
    metrics: Arc<Metrics>,
}

struct Node {
    client: RpcClient,
    host: String,
    /// Whether it named the right cluster since its last failure.
    trusted: AtomicBool,
}

impl Nodes {
    /// Prepares connections; nothing is sent yet.
    pub fn new(config: &NetworkConfig, metrics: Arc<Metrics>) -> Self {
        let timeout = config.rpc_timeout.to_std().unwrap_or(Duration::from_secs(5));
        let http = Sender::http(timeout);
        let node = |url: &crate::config::RpcUrl| Node {
            client: RpcClient::new_sender(Sender::new(&http, url.expose()), RpcClientConfig::default()),
            host: url.host().to_owned(),
            trusted: AtomicBool::default(),
        };
        let list: Vec<_> = config.rpc.iter().map(node).collect();
        Self {
            network: config.network.clone(),
            genesis: config.genesis.clone().unwrap_or_else(|| config.network.reference().to_owned()),
            timeout,
            rotation: Rotation::of(list.len()),
            list,
            metrics,
        }
    }

    /// The indexes of all nodes, beginning with the one that is asked now.
    pub fn order(&self) -> impl Iterator<Item = usize> + use<> {
        self.rotation.order()
    }

    /// How many nodes there are.
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Asks the preferred node, and the others in turn while nobody gives a usable answer. A refusal is one, unless it speaks of the
    /// node's own trouble.
    pub async fn call<R: DeserializeOwned>(&self, request: RpcRequest, params: Value) -> Result<R, CallError> {
        self.call_any(request, params).await.map(|(_, answer)| answer)
    }

    /// The same, and says whose answer it is.
    pub async fn call_any<R: DeserializeOwned>(&self, request: RpcRequest, params: Value) -> Result<(usize, R), CallError> {
        let usable = |answer: &Result<(usize, R), CallError>| match answer {
            Ok(_) => true,
            Err(CallError::Complaint(complaint)) => !NODE_TROUBLES.contains(&complaint.code),
            Err(CallError::Unavailable(_)) => false,
        };
        self.ask(request, params, usable).await
    }

    /// The same, for calls whose refusal by a node means only that it cannot serve us.
    pub async fn read<R: DeserializeOwned>(&self, request: RpcRequest, params: Value) -> Result<R, ChainError> {
        let answer = self.ask(request, params, Result::is_ok).await;
        answer.map(|(_, answer)| answer).map_err(|error| self.unavailable(request, error))
    }

    /// The same, for a caller who knows which answers it can use.
    async fn ask<R: DeserializeOwned>(
        &self,
        request: RpcRequest,
        params: Value,
        usable: impl Fn(&Result<(usize, R), CallError>) -> bool,
    ) -> Result<(usize, R), CallError> {
        let failed = |index: usize, error: &CallError| {
            match error {
                // That it serves another cluster was said when it was found out.
                CallError::Unavailable(NodeFailure::WrongChain(_)) => {}
                // Slots are skipped and blocks served late all the time.
                CallError::Complaint(complaint) if NO_BLOCK.contains(&complaint.code) => {}
                error => self.warn(index, request, error),
            }
        };
        let call = |index| {
            let answer = self.call_node(index, request, params.clone());
            async move { answer.await.map(|answer| (index, answer)) }
        };
        self.rotation.ask(call, usable, failed).await
    }

    /// Asks one particular node.
    pub async fn call_node<R: DeserializeOwned>(&self, index: usize, request: RpcRequest, params: Value) -> Result<R, CallError> {
        let node = &self.list[index];
        if !node.trusted.load(Ordering::Acquire) {
            self.check_genesis(index).await?;
            node.trusted.store(true, Ordering::Release);
        }
        let answer = self.request(index, request, params).await;
        if matches!(answer, Err(CallError::Unavailable(_))) {
            node.trusted.store(false, Ordering::Release);
        }
        answer
    }

    /// Asks each node by itself which cluster it serves, in the order of the configuration.
    pub async fn check_each(&self) -> Vec<(String, Result<(), CallError>)> {
        let checks = (0..self.list.len()).map(|index| async move {
            let checked = self.check_genesis(index).await;
            (self.list[index].host.clone(), checked)
        });
        futures_util::future::join_all(checks).await
    }

    /// A node of another cluster is passed over by all who ask, and only here does anybody hear of it.
    async fn check_genesis(&self, index: usize) -> Result<(), CallError> {
        let genesis: String = self.request(index, RpcRequest::GetGenesisHash, Value::Null).await?;
        let is_ours =
            if self.genesis.len() == GENESIS_CHARS { genesis.starts_with(&self.genesis) } else { genesis == self.genesis };
        if is_ours {
            return Ok(());
        }
        let error = CallError::Unavailable(NodeFailure::WrongChain(format!("genesis {genesis}")));
        self.warn(index, RpcRequest::GetGenesisHash, &error);
        Err(error)
    }

    fn warn(&self, index: usize, request: RpcRequest, error: &CallError) {
        tracing::warn!(network = %self.network, node = self.list[index].host, method = %request, %error, "a node failed");
    }

    async fn request<R: DeserializeOwned>(&self, index: usize, request: RpcRequest, params: Value) -> Result<R, CallError> {
        let started = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.list[index].client.send(request, params)).await;
        let answer =
            answer.map_or(Err(CallError::Unavailable(NodeFailure::Timeout)), |answer| answer.map_err(|error| classify(&error)));
        let outcome = match &answer {
            Ok(_) => RpcOutcome::Ok,
            Err(CallError::Complaint(_)) => RpcOutcome::Error,
            Err(CallError::Unavailable(_)) => RpcOutcome::Unknown,
        };
        self.metrics.rpc_request(&self.network, index, name(request), outcome, started.elapsed());
        answer
    }

    /// Wraps a failed call for callers that need no more than "no answer".
    pub fn unavailable(&self, request: RpcRequest, error: CallError) -> ChainError {
        if let CallError::Unavailable(NodeFailure::WrongChain(what)) = error {
            return ChainError::WrongChain { network: self.network.clone(), what };
        }
        ChainError::Unavailable { network: self.network.clone(), method: name(request), source: Box::new(error) }
    }

    /// A node's answer that cannot be.
    pub fn implausible(&self, what: String) -> ChainError {
        ChainError::Implausible { network: self.network.clone(), what }
    }

    /// A block that is lost for us.
    pub fn unreadable(&self, block: String, what: String) -> ChainError {
        ChainError::Unreadable { network: self.network.clone(), block, what }
    }

    /// What the network says of a signer that cannot pay its fee.
    pub fn signer_short(&self, signer: String, what: String) -> ChainError {
        ChainError::SignerShort { network: self.network.clone(), signer, what }
    }

    /// A setting that does not fit the network.
    pub fn misconfigured(&self, what: String) -> ChainError {
        ChainError::Misconfigured { network: self.network.clone(), what }
    }
}

/// What a node says about a state. The SDK's own shape also reads the node's version, in a form that not every node keeps to.
#[derive(Deserialize)]
pub struct Stated<T> {
    context: Context,
    /// What it says.
    pub value: T,
}

#[derive(Deserialize)]
struct Context {
    slot: u64,
}

impl<T> Stated<T> {
    /// The slot whose state it is.
    pub const fn slot(&self) -> u64 {
        self.context.slot
    }
}

/// What is read at the level that answers count from.
pub fn confirmed() -> Value {
    json!({"commitment": "confirmed"})
}

const fn name(request: RpcRequest) -> &'static str {
    match request {
        RpcRequest::GetBalance => "getBalance",
        RpcRequest::GetBlock => "getBlock",
        RpcRequest::GetBlocks => "getBlocks",
        RpcRequest::GetGenesisHash => "getGenesisHash",
        RpcRequest::GetMultipleAccounts => "getMultipleAccounts",
        RpcRequest::GetSignatureStatuses => "getSignatureStatuses",
        RpcRequest::GetSignaturesForAddress => "getSignaturesForAddress",
        RpcRequest::GetSlot => "getSlot",
        RpcRequest::GetTransaction => "getTransaction",
        RpcRequest::SendTransaction => "sendTransaction",
        RpcRequest::SimulateTransaction => "simulateTransaction",
        _ => "another method",
    }
}

/// The words of transport errors can contain a node's address, so they stay here.
fn classify(error: &ClientError) -> CallError {
    match error.kind() {
        ClientErrorKind::RpcError(RpcError::RpcResponseError { code, message, .. }) => {
            Complaint::new(*code, message.clone()).into()
        }
        ClientErrorKind::Reqwest(error) if error.is_timeout() => CallError::Unavailable(NodeFailure::Timeout),
        ClientErrorKind::Reqwest(error) if error.status().is_some_and(|status| status.as_u16() == 429) => {
            CallError::Unavailable(NodeFailure::RateLimited)
        }
        _ => CallError::Unavailable(NodeFailure::Broken),
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.list.iter().map(|node| &node.host).collect();
        formatter.debug_struct("Nodes").field("network", &self.network).field("hosts", &hosts).finish_non_exhaustive()
    }
}

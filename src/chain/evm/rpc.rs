//! JSON-RPC over several nodes of one network.
//!
//! A node is believed only after it has named the right chain with the right tokens; it is asked again after every failure, because
//! what answers behind one address may have been exchanged. Reads go to one node and fail over to the next, also if a node does
//! answer but cannot serve us.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U64};
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{RpcRecv, RpcSend};
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::sol_types::SolCall;
use alloy::transports::http::Http;
use alloy::transports::{RpcError as TransportRpcError, TransportErrorKind};
use serde_json::Value;

use super::abi::Token;
use super::exact::{evm, signature};
use crate::chain::ChainError;
use crate::chain::nodes::{CallError, Complaint, NodeFailure, Rotation};
use crate::config::NetworkConfig;
use crate::domain::asset::Asset;
use crate::domain::network::Network;
use crate::metrics::{Metrics, RpcOutcome};

/// Codes with which public nodes say "too many requests" in a JSON-RPC answer instead of HTTP 429.
const RATE_LIMIT_CODES: [i64; 5] = [429, -32005, -32007, -32012, -32016];

/// The code of JSON-RPC for what is not the caller's fault.
const INTERNAL_ERROR: i64 = -32603;

/// What geth and its kin say, under a code that they use for everything, when they lack the state of a block.
const NODE_TROUBLES: [&str; 2] = ["header not found", "missing trie node"];

/// What asks contracts, and needs them to be the right ones.
const CALL: &str = "eth_call";

/// The same for what a transaction would do, and its gas.
pub const ESTIMATE: &str = "eth_estimateGas";

/// How long a node that reconnects may take to speak of its tokens before it is asked for other things.
const TOKENS_WITHIN: Duration = Duration::from_secs(1);

/// The nodes of one network.
pub struct Nodes {
    network: Network,
    chain_id: u64,
    genesis: Option<String>,
    /// The tokens, each with the signing domain that it must have.
    tokens: Vec<(Asset, B256)>,
    timeout: Duration,
    list: Vec<Node>,
    rotation: Rotation,
    metrics: Arc<Metrics>,
}

struct Node {
    client: RpcClient,
    host: String,
    /// Whether it named the right chain since its last failure.
    trusted: AtomicBool,
    /// Whether its tokens were found to be the right ones since then.
    has_tokens: AtomicBool,
}

/// Whether the trouble is the node's own, so that another one may well answer.
fn is_of_node(complaint: &Complaint) -> bool {
    let message = complaint.message.to_ascii_lowercase();
    complaint.code == INTERNAL_ERROR || NODE_TROUBLES.iter().any(|words| message.contains(words))
}

impl Nodes {
    /// Prepares connections; nothing is sent yet.
    ///
    /// # Errors
    /// A chain id or an address that cannot be one.
    pub fn new(config: &NetworkConfig, client: &reqwest::Client, metrics: Arc<Metrics>) -> Result<Self, ChainError> {
        let misconfigured = |what: String| ChainError::Misconfigured { network: config.network.clone(), what };
        let chain_id =
            config.network.reference().parse().map_err(|_| misconfigured("the chain id is not a number".to_owned()))?;
        let list: Vec<_> = config
            .rpc
            .iter()
            .map(|url| {
                let address = url.expose().parse().map_err(|_| misconfigured(format!("{} is not an address", url.host())))?;
                let client = RpcClient::new(Http::with_client(client.clone(), address), true);
                Ok(Node {
                    client,
                    host: url.host().to_owned(),
                    trusted: AtomicBool::default(),
                    has_tokens: AtomicBool::default(),
                })
            })
            .collect::<Result<_, ChainError>>()?;
        let separator = |asset: &Asset| {
            let separator = signature::separator(asset, chain_id);
            separator.ok_or_else(|| misconfigured(format!("{} has no signing domain", asset.address)))
        };
        let tokens =
            config.assets.iter().map(|asset| Ok((asset.clone(), separator(asset)?))).collect::<Result<_, ChainError>>()?;
        Ok(Self {
            network: config.network.clone(),
            chain_id,
            genesis: config.genesis.clone(),
            tokens,
            timeout: config.rpc_timeout.to_std().unwrap_or(Duration::from_secs(5)),
            rotation: Rotation::of(list.len()),
            list,
            metrics,
        })
    }

    /// The chain id that every node must name.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The index of the node that reads go to now.
    pub fn preferred(&self) -> usize {
        self.rotation.preferred()
    }

    /// Asks the preferred node, and the others in turn while nobody gives a usable answer. A refusal is one.
    pub async fn call<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, CallError> {
        let usable = |answer: &Result<R, CallError>| match answer {
            Ok(_) => true,
            Err(CallError::Complaint(complaint)) => !is_of_node(complaint),
            Err(CallError::Unavailable(_)) => false,
        };
        self.ask(method, params, usable).await
    }

    /// The same, for calls whose refusal by a node means only that it cannot serve us.
    pub async fn read<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, ChainError> {
        self.ask(method, params, Result::is_ok).await.map_err(|error| self.unavailable(method, error))
    }

    /// What a view function of a contract answers in a state.
    pub async fn view<C: SolCall>(&self, to: EvmAddress, call: C, state: Value) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default().to(to).input(TransactionInput::new(call.abi_encode().into()));
        let answer: Bytes = self.read(CALL, (request, state)).await?;
        C::abi_decode_returns(&answer).map_err(|_| self.implausible(format!("{} answered something else", C::SIGNATURE)))
    }

    /// The same, for what one node may not have yet while another has it.
    pub async fn find<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<Option<R>, ChainError> {
        let found = |answer: &Result<Option<R>, CallError>| matches!(answer, Ok(Some(_)));
        self.ask(method, params, found).await.map_err(|error| self.unavailable(method, error))
    }

    /// The same, for a caller who knows best which answers it can use: the nodes are asked in turn until one is usable. If none is,
    /// the last word of a node counts for more than silence, and that one serves another chain only if all do.
    pub async fn ask<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
        usable: impl Fn(&Result<R, CallError>) -> bool,
    ) -> Result<R, CallError> {
        let failed = |index: usize, error: &CallError| {
            tracing::warn!(network = %self.network, node = self.list[index].host, method, %error, "a node failed");
        };
        self.rotation.ask(|index| self.call_node(index, method, params.clone()), usable, failed).await
    }

    /// Asks one particular node.
    pub async fn call_node<P: RpcSend, R: RpcRecv>(&self, index: usize, method: &'static str, params: P) -> Result<R, CallError> {
        let node = &self.list[index];
        if !node.trusted.load(Ordering::Acquire) {
            self.check_node(index).await?;
        }
        if [CALL, ESTIMATE].contains(&method) && !node.has_tokens.load(Ordering::Acquire) {
            self.check_tokens(index).await?;
            node.has_tokens.store(true, Ordering::Release);
        }
        let answer = self.request(index, method, params).await;
        if matches!(answer, Err(CallError::Unavailable(_))) {
            node.trusted.store(false, Ordering::Release);
        }
        answer
    }

    /// Wraps a failed call for callers that need no more than "no answer".
    pub fn unavailable(&self, method: &'static str, error: CallError) -> ChainError {
        if let CallError::Unavailable(NodeFailure::WrongChain(what)) = error {
            return ChainError::WrongChain { network: self.network.clone(), what };
        }
        ChainError::Unavailable { network: self.network.clone(), method, source: Box::new(error) }
    }

    /// A node's answer that cannot be.
    pub fn implausible(&self, what: String) -> ChainError {
        ChainError::Implausible { network: self.network.clone(), what }
    }

    /// A setting that does not fit the network.
    pub fn misconfigured(&self, what: String) -> ChainError {
        ChainError::Misconfigured { network: self.network.clone(), what }
    }

    /// Asks each node by itself which chain and tokens it serves, in the order of the configuration.
    pub async fn check_each(&self) -> Vec<(String, Result<(), CallError>)> {
        let checks = (0..self.list.len()).map(|index| async move {
            let checked = self.check_node(index).await;
            (self.list[index].host.clone(), checked)
        });
        futures_util::future::join_all(checks).await
    }

    /// Decides whether to believe a node. Blocks must be read even while no call is answered, so what it does not say of its tokens
    /// is held against it only where a call needs it.
    async fn check_node(&self, index: usize) -> Result<(), CallError> {
        self.check_chain(index).await?;
        let tokens = tokio::time::timeout(TOKENS_WITHIN, self.check_tokens(index)).await;
        if let Ok(Err(wrong @ CallError::Unavailable(NodeFailure::WrongToken(_)))) = tokens {
            return Err(wrong);
        }
        let node = &self.list[index];
        node.has_tokens.store(matches!(tokens, Ok(Ok(()))), Ordering::Release);
        node.trusted.store(true, Ordering::Release);
        Ok(())
    }

    /// The tokens must be the ones in our table, or signatures that we call good would be worthless there.
    async fn check_tokens(&self, index: usize) -> Result<(), CallError> {
        for (token, separator) in &self.tokens {
            let call = TransactionInput::new(Token::DOMAIN_SEPARATORCall {}.abi_encode().into());
            let request = TransactionRequest::default().to(evm(token.address)).input(call);
            match self.request::<_, Bytes>(index, CALL, (request, "latest")).await {
                Ok(answer) if *answer == separator[..] => {}
                Err(CallError::Complaint(complaint)) if is_of_node(&complaint) => return Err(complaint.into()),
                Ok(_) | Err(CallError::Complaint(_)) => return Err(CallError::Unavailable(wrong_token(token))),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn check_chain(&self, index: usize) -> Result<(), CallError> {
        let chain: U64 = self.request(index, "eth_chainId", ()).await?;
        if chain.to::<u64>() != self.chain_id {
            return Err(CallError::Unavailable(NodeFailure::WrongChain(format!("chain id {chain}"))));
        }
        let Some(expected) = &self.genesis else { return Ok(()) };
        let genesis: Option<GenesisBlock> = self.request(index, "eth_getBlockByNumber", ("0x0", false)).await?;
        match genesis {
            Some(block) if block.hash.to_string().eq_ignore_ascii_case(expected) => Ok(()),
            Some(block) => Err(CallError::Unavailable(NodeFailure::WrongChain(format!("genesis {}", block.hash)))),
            None => Err(CallError::Unavailable(NodeFailure::Broken)),
        }
    }

    async fn request<P: RpcSend, R: RpcRecv>(&self, index: usize, method: &'static str, params: P) -> Result<R, CallError> {
        let started = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.list[index].client.request(method, params)).await;
        let answer = answer.map_or(Err(CallError::Unavailable(NodeFailure::Timeout)), |answer| answer.map_err(classify));
        let outcome = match &answer {
            Ok(_) => RpcOutcome::Ok,
            Err(CallError::Complaint(_)) => RpcOutcome::Error,
            Err(CallError::Unavailable(_)) => RpcOutcome::Unknown,
        };
        self.metrics.rpc_request(&self.network, index, method, outcome, started.elapsed());
        answer
    }
}

#[derive(Debug, Clone, serde::Deserialize)]
struct GenesisBlock {
    hash: B256,
}

fn wrong_token(token: &Asset) -> NodeFailure {
    let Asset { address, symbol, .. } = token;
    let domain = token.domain().map(|domain| format!("name {:?}, version {:?}", domain.name, domain.version));
    NodeFailure::WrongToken(format!(
        "{symbol} {address} has no code, or another signing domain than {}",
        domain.unwrap_or_default()
    ))
}

fn classify(error: TransportRpcError<TransportErrorKind>) -> CallError {
    match error {
        TransportRpcError::ErrorResp(answer) if RATE_LIMIT_CODES.contains(&answer.code) => {
            CallError::Unavailable(NodeFailure::RateLimited)
        }
        TransportRpcError::ErrorResp(answer) => {
            let data = answer.data.as_deref().and_then(|data| serde_json::from_str(data.get()).ok());
            Complaint { code: answer.code, message: answer.message.into_owned(), data }.into()
        }
        TransportRpcError::Transport(TransportErrorKind::HttpError(error)) if error.status == 429 => {
            CallError::Unavailable(NodeFailure::RateLimited)
        }
        // The error itself can contain the node's address, so its words stay here.
        _ => CallError::Unavailable(NodeFailure::Broken),
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.list.iter().map(|node| &node.host).collect();
        formatter.debug_struct("Nodes").field("network", &self.network).field("hosts", &hosts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_the_state_is_not_believed_to_refuse() {
        let is_of_node = |code, message: &str| is_of_node(&Complaint::new(code, message));

        assert!(is_of_node(-32603, "Internal error"));
        assert!(is_of_node(-32000, "header not found"));
        assert!(is_of_node(-32000, "Missing trie node 0xab (path )"));
        assert!(!is_of_node(3, "execution reverted"));
        assert!(!is_of_node(-32000, "out of gas"));
    }
}

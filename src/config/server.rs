//! The sections `server`, `database` and `log`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use chrono::TimeDelta;
use figment::value::Value;
use tracing_subscriber::EnvFilter;

use super::problem::Fault;
use super::proxies::{Proxies, proxies};
use super::secret::{Secret, secret};
use super::table::{Reported, Table};
use super::value::{count, flag, http_url, milliseconds, or_none, seconds, size, socket, some_text, text};

/// How the service listens and answers.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where metrics, health and administration listen, which are not for the public.
    pub operations_listen: SocketAddr,
    /// Where gRPC listens, if it does.
    pub grpc_listen: Option<SocketAddr>,
    /// What the outside calls this service, without a slash at its end.
    pub public_url: String,
    /// Who may verify and settle.
    pub access: Access,
    /// Which pages people are served.
    pub pages: Pages,
    /// The largest body of a request.
    pub body_bytes_max: usize,
    /// A settle request of version 2 is answered within this. Go clients give up after 30 s.
    pub answer_within_v2: TimeDelta,
    /// The same for version 1, whose clients never ask again.
    pub answer_within_v1: TimeDelta,
    /// Connections at a time, and over gRPC also calls. A waiting settle request holds one.
    pub connections_max: usize,
    /// Of these, those that one address may have, unless it is a proxy's.
    pub connections_per_address_max: usize,
    /// The proxies in front.
    pub proxies: Proxies,
    /// How long requests may go on after the signal to stop.
    pub shutdown_within: TimeDelta,
    /// Answers an unreachable node with 200 and a code, for clients that cannot read the body of a 503.
    pub unavailable_as_ok: bool,
}

/// Who may verify and settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Holders of an API key.
    Keys,
    /// Everybody.
    Open,
}

/// Which pages people are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pages {
    /// None.
    Nothing,
    /// Those at which invoices are paid.
    Invoices,
    /// These, and the dashboard of accounts.
    Everything,
}

/// Where the ledger is.
#[derive(Debug, Clone)]
pub struct Database {
    /// A Postgres server. Absent: the service runs one of its own in `data_dir`.
    pub url: Option<Secret>,
    /// The directory of that private server.
    pub data_dir: PathBuf,
    /// Connections in the pool.
    pub connections_max: u32,
    /// How long a request may wait for one of them.
    pub acquire_within: TimeDelta,
}

/// What is written down, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// For machines or for people.
    pub format: LogFormat,
    /// Which lines, in the words of `tracing_subscriber::EnvFilter`, for example `info,quittance=debug`.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// A line for people.
    Text,
}

pub(super) fn server(table: &Table) -> Result<Server, Reported> {
    let listen = table.required("listen", socket);
    let operations_listen = operations_listen(table, listen);
    let grpc_listen = grpc_listen(table, [("listen", listen), ("operations_listen", operations_listen)]);
    let public_url = table.optional("public_url", public_url);
    let access = table.required("access", access);
    let pages = table.required("pages", pages);
    let body_bytes_max = table.required("body_bytes_max", size(1_024..=16 << 20));
    let answer_within_v2 = table.required("answer_within_v2_seconds", seconds(1..=300));
    let answer_within_v1 = table.required("answer_within_v1_seconds", seconds(1..=300));
    let connections_max = table.required("connections_max", size(1..=1_000_000));
    let connections_per_address_max = table.required("connections_per_address_max", size(1..=1_000_000));
    let proxies = proxies(table);
    let shutdown_within = table.required("shutdown_within_seconds", seconds(1..=600));
    let unavailable_as_ok = table.required("unavailable_as_ok", flag);
    Ok(Server {
        listen: listen?,
        operations_listen: operations_listen?,
        grpc_listen: grpc_listen?,
        public_url: public_url?.unwrap_or(format!("http://{}", reachable(listen?))),
        access: access?,
        pages: pages?,
        body_bytes_max: body_bytes_max?,
        answer_within_v2: answer_within_v2?,
        answer_within_v1: answer_within_v1?,
        connections_max: connections_max?,
        connections_per_address_max: connections_per_address_max?,
        proxies: proxies?,
        shutdown_within: shutdown_within?,
        unavailable_as_ok: unavailable_as_ok?,
    })
}

fn operations_listen(table: &Table, listen: Result<SocketAddr, Reported>) -> Result<SocketAddr, Reported> {
    let operations = table.required("operations_listen", socket)?;
    match listen {
        Ok(listen) if are_one(listen, operations) => table.refuse("operations_listen", Fault::SharedListener),
        _ => Ok(operations),
    }
}

fn grpc_listen(table: &Table, others: [(&'static str, Result<SocketAddr, Reported>); 2]) -> Result<Option<SocketAddr>, Reported> {
    let grpc = table.required("grpc_listen", or_none(socket))?;
    let taken = |(_, other): &(_, Result<SocketAddr, Reported>)| matches!((grpc, other), (Some(grpc), Ok(other)) if are_one(grpc, *other));
    match others.iter().find(|other| taken(other)) {
        Some((key, _)) => table.refuse("grpc_listen", Fault::Duplicate(format!("server.{key}"))),
        None => Ok(grpc),
    }
}

/// Whether two listeners would want one port. Port 0 asks the system for a free one, which is never the same one twice.
fn are_one(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

/// Nobody can call 0.0.0.0, but this machine is among what it stands for.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listen.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listen.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listen
}

fn public_url(value: &Value) -> Result<String, Fault> {
    let text = text(value)?;
    let url = http_url(&text)?;
    // Paths are appended to it, and receipts are signed over it.
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(Fault::Expected("a URL without user, query and fragment"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn access(value: &Value) -> Result<Access, Fault> {
    match text(value)?.as_str() {
        "keys" => Ok(Access::Keys),
        "open" => Ok(Access::Open),
        _ => Err(Fault::Expected("keys or open")),
    }
}

fn pages(value: &Value) -> Result<Pages, Fault> {
    match text(value)?.as_str() {
        "none" => Ok(Pages::Nothing),
        "invoices" => Ok(Pages::Invoices),
        "all" => Ok(Pages::Everything),
        _ => Err(Fault::Expected("all, invoices or none")),
    }
}

pub(super) fn database(table: &Table) -> Result<Database, Reported> {
    let url = database_url(table);
    let data_dir = table.required("data_dir", some_text);
    let connections_max = table.required("connections_max", count(2..=1_000));
    let acquire_within = table.required("acquire_within_ms", milliseconds(1..=60_000));
    Ok(Database {
        url: url?,
        data_dir: PathBuf::from(data_dir?),
        connections_max: connections_max?,
        acquire_within: acquire_within?,
    })
}

fn database_url(table: &Table) -> Result<Option<Secret>, Reported> {
    use secrecy::ExposeSecret;

    let url = secret(table, "url")?;
    let is_postgres =
        |url: &Secret| ["postgres://", "postgresql://"].iter().any(|scheme| url.expose_secret().starts_with(scheme));
    if url.as_ref().is_none_or(is_postgres) {
        Ok(url)
    } else {
        table.refuse("url", Fault::Expected("a URL that begins with postgres://"))
    }
}

pub(super) fn log(table: &Table) -> Result<Log, Reported> {
    let format = table.required("format", log_format);
    let filter = table.required("filter", log_filter);
    Ok(Log { format: format?, filter: filter? })
}

fn log_format(value: &Value) -> Result<LogFormat, Fault> {
    match text(value)?.as_str() {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err(Fault::Expected("json or text")),
    }
}

fn log_filter(value: &Value) -> Result<String, Fault> {
    let filter = some_text(value)?;
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(Fault::Filter(error.to_string())),
    }
}

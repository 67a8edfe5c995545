//! What holds for every call, whatever it asks: nobody calls too often, there is room for so many, what is sent must arrive in time and there
//! must be room for it, and each is counted.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, Service as Calling, http};
use tonic::service::Routes;
use tonic::{Code, Status};

use super::connections::{Line, UnderWay};
use super::slow::{Client, Slow, Waiting};
use super::{admission, status};
use crate::api::Service;
use crate::api::body::{BodyError, Share};
use crate::api::code;
use crate::api::places::{Place, Places};
use crate::api::problem::Problem;
use crate::flow::limits::{Origin, Prefix};
use crate::metrics::{InFlight, Metrics};

/// What a client sends must be there within this, however many pieces it comes in.
const MESSAGE_WITHIN: Duration = Duration::from_secs(10);

/// A client takes within this what there is of its answer.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// Health is told at any moment, whatever else is under way: its calls have places of their own, and nobody asks for it too often. So many
/// for each address, and for all of them.
const HEALTH_CALLS_EACH: usize = 16;
const HEALTH_CALLS: usize = 1_024;

/// The methods by which calls are counted. What somebody invents counts as none of them.
const METHODS: [&str; 15] = [
    "quittance.v1.Facilitator/Verify",
    "quittance.v1.Facilitator/Settle",
    "quittance.v1.Facilitator/Supported",
    "quittance.v1.Invoices/Create",
    "quittance.v1.Invoices/Get",
    "quittance.v1.Invoices/List",
    "quittance.v1.Invoices/Cancel",
    "quittance.v1.Invoices/Watch",
    "quittance.v1.Receipts/Get",
    "quittance.v1.Receipts/Verify",
    "quittance.v1.Receipts/Redeem",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

fn method(path: &str) -> &'static str {
    METHODS.into_iter().find(|method| path.strip_prefix('/') == Some(method)).unwrap_or("none")
}

fn is_health(method: &str) -> bool {
    method.starts_with("grpc.health.")
}

/// The services, with what holds for every call.
#[derive(Clone)]
pub struct Calls {
    routes: Routes,
    service: Arc<Service>,
    places: Arc<Places<Origin>>,
    health: Arc<Places<Prefix>>,
    slow: Arc<Slow>,
}

/// A place that a call takes.
enum Taken {
    Call { _place: Place<Origin> },
    Health { _place: Place<Prefix> },
}

impl Calls {
    /// Has room for as many calls at a time, over all connections, as there may be connections, and for as many of one caller as of one
    /// address.
    pub fn new(routes: Routes, service: Arc<Service>) -> Self {
        let places = Places::new(service.server.connections_per_address_max, service.connections_max);
        Self { routes, service, places, health: Places::new(HEALTH_CALLS_EACH, HEALTH_CALLS), slow: Arc::default() }
    }

    /// Lets a call in, with the place that it takes.
    fn admit(&self, method: &str, request: &mut http::Request<Body>) -> Result<Taken, Problem> {
        let busy = || Problem::Refused(code::Code::TooManyCalls, "too many calls are under way".to_owned());
        if is_health(method) {
            let peer = admission::peer(request).unwrap_or(IpAddr::from([0, 0, 0, 0]));
            let place = self.health.take(peer.into()).ok_or_else(busy)?;
            return Ok(Taken::Health { _place: place });
        }
        let origin = admission::admit(&self.service, request)?;
        if let (Origin::Key(_), Some(line)) = (origin, request.extensions().get::<Line>()) {
            line.know();
        }
        let place = self.places.take_from(origin, || self.slow.cut_longest()).ok_or_else(busy)?;
        Ok(Taken::Call { _place: place })
    }

    /// Whoever is known has a limit of its own, and calls of health have other places: neither makes room.
    fn client(&self, line: Line, method: &str) -> Client {
        let gives_way = !line.is_known() && !is_health(method);
        Client { slow: gives_way.then(|| Arc::clone(&self.slow)), cut: line.cut, runtime: self.service.runtime.clone() }
    }
}

impl Calling<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Calling::<http::Request<Body>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let method = method(request.uri().path());
        let line = request.extensions().get::<Line>().cloned();
        // Whoever has its health watched still waits for each answer.
        let under_way = line.as_ref().map(Line::call).filter(|_| !is_health(method));
        let call = Call::new(&self.service.flows().metrics, method, under_way);
        let place = match self.admit(method, &mut request) {
            Ok(place) => place,
            Err(problem) => {
                let response = status::of(problem).into_http();
                return async move { Ok(call.answered(response, None, None)) }.boxed();
            }
        };
        let client = line.map(|line| self.client(line, method));
        let waiting = client.as_ref().map(Client::wait);
        let share = Arc::new(Mutex::new(self.service.bodies.share()));
        let (bytes_max, taken) = (self.service.server.body_bytes_max, Arc::clone(&share));
        let answering = self.routes.call(request.map(|body| Body::new(Arriving::new(body, bytes_max, taken, waiting))));
        async move {
            let response = answering.await?;
            // Until here somebody may have needed the message.
            drop(share);
            Ok(call.answered(response, Some(place), client))
        }
        .boxed()
    }
}

/// A call under way. It is counted when this is dropped: if its client has left before the end, as cancelled.
struct Call {
    metrics: Arc<Metrics>,
    method: &'static str,
    started: Instant,
    took: Option<Duration>,
    code: Code,
    _in_flight: InFlight,
    _under_way: Option<UnderWay>,
}

impl Call {
    fn new(metrics: &Arc<Metrics>, method: &'static str, under_way: Option<UnderWay>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            method,
            started: Instant::now(),
            took: None,
            code: Code::Cancelled,
            _in_flight: metrics.grpc_request_started(),
            _under_way: under_way,
        }
    }

    /// Goes on with the call until the last of its answer was taken.
    fn answered(mut self, response: http::Response<Body>, place: Option<Taken>, client: Option<Client>) -> http::Response<Body> {
        self.took = Some(self.started.elapsed());
        self.note(response.headers());
        // From now on something is there to be taken.
        let waiting = client.as_ref().map(|client| client.wait_for(TAKEN_WITHIN));
        response.map(|body| Body::new(Counted { body, call: self, client, waiting, _place: place }))
    }

    /// An error without an answer has its code in the headers, and everything else behind its messages.
    fn note(&mut self, headers: &http::HeaderMap) {
        if let Some(code) = headers.get("grpc-status") {
            self.code = Code::from_bytes(code.as_bytes());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.metrics.grpc_request(self.method, name(self.code), self.took.unwrap_or_else(|| self.started.elapsed()));
    }
}

/// A code as the documentation of gRPC writes it.
const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The answer of a call, whose end is noted.
struct Counted {
    body: Body,
    call: Call,
    client: Option<Client>,
    /// Whether something of the answer is still to be taken.
    waiting: Option<Waiting>,
    _place: Option<Taken>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        // Whoever asks for more has taken the last one.
        self.waiting = None;
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.note(trailers);
        }
        if frame.is_ready() {
            self.waiting = self.client.as_ref().map(|client| client.wait_for(TAKEN_WITHIN));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// What a client sends: until when, and with what share of the room for bodies.
struct Arriving {
    body: Body,
    until: Pin<Box<Sleep>>,
    bytes: usize,
    /// The largest message. Of a stream one is kept at a time.
    bytes_max: usize,
    share: Arc<Mutex<Share>>,
    _waiting: Option<Waiting>,
}

impl Arriving {
    fn new(body: Body, bytes_max: usize, share: Arc<Mutex<Share>>, waiting: Option<Waiting>) -> Self {
        let until = Box::pin(tokio::time::sleep(MESSAGE_WITHIN));
        Self { body, until, bytes: 0, bytes_max, share, _waiting: waiting }
    }

    fn make_room(&mut self, frame: &http_body::Frame<Bytes>) -> Result<(), BodyError> {
        self.bytes = self.bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len)).min(self.bytes_max);
        self.share.lock().unwrap_or_else(PoisonError::into_inner).grow_to(self.bytes)
    }
}

fn unreadable(error: BodyError) -> Status {
    status::of(Problem::Body(error))
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.make_room(&frame).map(|()| frame).map_err(unreadable))),
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending => self.until.as_mut().poll(context).map(|()| Some(Err(unreadable(BodyError::TooSlow)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

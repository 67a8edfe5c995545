//! One sale from the request to the answer: offer, verify, work, settle, release.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes_limited};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _, HttpResponse};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::PaywallError;
use crate::facilitator::{Facilitator, FacilitatorError};
use crate::paid::Paid;
use crate::receipt::{Asked, ReceiptError};
use crate::terms::{Offer, Order, Terms};
use crate::wire::{
    FacilitatorRequest, PAYMENT_REQUIRED, Payment, PaymentRequired, PaymentRequiredV1, Requirements, Resource, SettleAnswer,
    Version, encoded,
};

/// What a paywall is, seen from one worker.
#[derive(Debug)]
pub(crate) struct Till {
    pub facilitator: Facilitator,
    pub terms: Arc<Terms>,
    pub receipts: bool,
    pub body_bytes_max: usize,
}

/// A payment that was made, in the extensions of the response that it bought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// Who paid.
    pub payer: String,
    /// Who was paid.
    pub pay_to: String,
    /// Where, as a CAIP-2 identifier.
    pub network: String,
    /// The token.
    pub asset: String,
    /// How much, in atomic units.
    pub amount: u128,
    /// The transaction that paid; empty if nothing was charged.
    pub transaction: String,
    /// The facilitator's signed receipt (JWS), verified; absent if none was wanted or nothing was charged.
    pub receipt: Option<String>,
}

/// What is offered for one request.
struct Counter {
    resource: Resource,
    offers: Vec<Offer>,
    extensions: Map<String, Value>,
}

/// A payment that the facilitator has found good.
struct Verified {
    counter: Counter,
    payment: Payment,
    order: Order,
    paid: Paid,
}

/// A settlement that bought nothing, and what the buyer is told of it.
struct Failure {
    error: PaywallError,
    answer: Option<SettleAnswer>,
}

impl<E: Into<PaywallError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), answer: None }
    }
}

impl Till {
    /// Sells what `service` answers to a request.
    pub(crate) async fn sell<S, B>(&self, service: &S, request: ServiceRequest) -> Result<ServiceResponse, Error>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let verified = match self.verified(&request).await {
            Ok(verified) => verified,
            Err(refusal) => return Ok(ServiceResponse::new(request.into_parts().0, refusal)),
        };
        request.extensions_mut().insert(verified.paid.clone());
        let answered = service.call(request).await?;
        if answered.status().is_client_error() || answered.status().is_server_error() {
            return Ok(answered.map_into_boxed_body());
        }
        let (request, response) = answered.into_parts();
        Ok(ServiceResponse::new(request, self.closed(&verified, response).await))
    }

    /// Everything before the work: nothing here costs the buyer anything.
    async fn verified(&self, request: &ServiceRequest) -> Result<Verified, HttpResponse> {
        let away = |error: FacilitatorError| PaywallError::from(error).into_response();
        let supported = self.facilitator.supported().await.map_err(away)?;
        let counter = Counter {
            resource: self.terms.resource(self.url(request)),
            offers: self.terms.offers(&supported),
            extensions: self.terms.extensions(&supported),
        };
        if counter.offers.is_empty() {
            return Err(PaywallError::NothingOffered.into_response());
        }
        let payment = match Payment::of(request.headers()) {
            Ok(Some(payment)) => payment,
            Ok(None) => return Err(counter.refuse(PaywallError::Unpaid)),
            Err(error) => return Err(counter.refuse(error.into())),
        };
        let Some(order) = Order::of(&payment, &counter.offers, &supported) else {
            return Err(counter.refuse(PaywallError::NotOffered));
        };
        if self.receipts {
            // Better before there is something that cannot be released without them.
            self.facilitator.know_keys().await.map_err(away)?;
        }
        let body = body(&payment, &order, &counter.resource);
        let verdict = self.facilitator.verify(body).await.map_err(away)?;
        if !verdict.is_valid {
            let reason = verdict.invalid_reason.unwrap_or_else(|| "invalid_payment".to_owned());
            return Err(counter.refuse(PaywallError::Refused { reason }));
        }
        let paid = Paid::new(verdict.payer.unwrap_or_default(), &order);
        Ok(Verified { counter, payment, order, paid })
    }

    /// Keeps an answer back until it is paid for.
    async fn closed<B: MessageBody + 'static>(&self, verified: &Verified, response: HttpResponse<B>) -> HttpResponse {
        let (response, body) = match self.kept_back(response).await {
            Ok(kept) => kept,
            Err(error) => return error.into_response(),
        };
        match self.settled(verified).await {
            Ok((answer, settlement)) => released(response, body, verified.order.version, &answer, settlement),
            Err(failure) => verified.fail(failure),
        }
    }

    /// The answer of the handler, complete.
    async fn kept_back<B: MessageBody + 'static>(
        &self,
        response: HttpResponse<B>,
    ) -> Result<(HttpResponse<()>, Option<Bytes>), PaywallError> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(PaywallError::Upgrade);
        }
        let (response, body) = response.into_parts();
        if body.size() == BodySize::None {
            return Ok((response, None));
        }
        let limit = self.body_bytes_max;
        let within = Duration::from_secs(self.terms.max_timeout_seconds);
        let read = tokio::time::timeout(within, to_bytes_limited(body, limit)).await.map_err(|_| PaywallError::TooSlow)?;
        let bytes = read.map_err(|_| PaywallError::TooLarge { limit })?.map_err(|error| PaywallError::Broken(error.into()))?;
        Ok((response, Some(bytes)))
    }

    /// Has the payment made, and believes that it is only on the facilitator's signature.
    async fn settled(&self, verified: &Verified) -> Result<(SettleAnswer, Settlement), Failure> {
        let charged = verified.paid.charged();
        let order = verified.order.charging(charged);
        let answer = self.answer_of_settle(body(&verified.payment, &order, &verified.counter.resource)).await?;
        if answer.is_pending() {
            let error = PaywallError::Pending { transaction: answer.transaction.clone() };
            return Err(Failure { error, answer: Some(answer) });
        }
        if !answer.success {
            let reason = answer.error_reason.clone().unwrap_or_else(|| "settlement_failed".to_owned());
            return Err(Failure { error: PaywallError::NotSettled { reason }, answer: Some(answer) });
        }
        match self.believed(verified, &order, charged, &answer).await {
            Ok(settlement) => Ok((answer, settlement)),
            Err(error) => Err(Failure { error, answer: Some(answer) }),
        }
    }

    /// The answer to a settlement. Where it was lost, or its end was not known yet, the same question is asked once more: the key makes it
    /// the same one, so that it finds the same success and makes no second payment.
    async fn answer_of_settle(&self, body: Bytes) -> Result<SettleAnswer, FacilitatorError> {
        let key = Uuid::now_v7().to_string();
        let first = self.facilitator.settle(body.clone(), &key).await;
        let once_more = match &first {
            Ok(answer) => answer.is_pending(),
            Err(error) => error.lost_the_answer(),
        };
        if once_more { self.facilitator.settle(body, &key).await } else { first }
    }

    async fn believed(
        &self,
        verified: &Verified,
        order: &Order,
        charged: u128,
        answer: &SettleAnswer,
    ) -> Result<Settlement, PaywallError> {
        let Requirements { network, asset, pay_to, amount, .. } = &order.offer.requirements;
        contradiction(order, answer).map_or(Ok(()), |what| Err(FacilitatorError::Malformed(what)))?;
        let told = answer.payer.as_deref().unwrap_or_default();
        let payer = Some(verified.paid.payer()).filter(|payer| !payer.is_empty()).unwrap_or(told);
        let receipt =
            if self.receipts && charged > 0 { Some(self.receipt_of(answer).await.ok_or(ReceiptError::Missing)?) } else { None };
        if let Some(receipt) = &receipt {
            let resource = match order.version {
                Version::V1 => Some(verified.counter.resource.url.as_str()),
                Version::V2 => verified.payment.resource.as_deref(),
            };
            let family = order.offer.family;
            let transaction = &answer.transaction;
            let asked = Asked { family, network, asset, pay_to, amount, payer, transaction, resource, issuer: None };
            self.facilitator.use_receipt(receipt, asked).await??;
        }
        Ok(Settlement {
            payer: payer.to_owned(),
            pay_to: pay_to.clone(),
            network: network.clone(),
            asset: asset.clone(),
            amount: charged,
            transaction: answer.transaction.clone(),
            receipt,
        })
    }

    /// The receipt in an answer, or the one that it names a payment of.
    async fn receipt_of(&self, answer: &SettleAnswer) -> Option<String> {
        match (answer.receipt(), answer.payment_id()) {
            (Some(receipt), _) => Some(receipt.to_owned()),
            (None, Some(payment)) => self.facilitator.late_receipt(payment).await,
            (None, None) => None,
        }
    }

    /// The URL of what is sold, as the buyer sees it.
    fn url(&self, request: &ServiceRequest) -> String {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        if let Some(base) = &self.terms.public_url {
            return format!("{base}{path}");
        }
        let connection = request.connection_info();
        format!("{}://{}{path}", connection.scheme(), connection.host())
    }
}

/// What is wrong with a success, before anything is said of its signature.
fn contradiction(order: &Order, answer: &SettleAnswer) -> Option<&'static str> {
    let Requirements { network, amount, .. } = &order.offer.requirements;
    let network = match order.version {
        Version::V1 => order.offer.v1_network.unwrap_or(network),
        Version::V2 => network,
    };
    if answer.network != network {
        return Some("a success on another network");
    }
    if answer.amount.as_ref().is_some_and(|paid| paid != amount) {
        return Some("a success of another amount");
    }
    (answer.transaction.is_empty() && amount != "0").then_some("a success without a transaction")
}

/// What the facilitator is asked, as bytes: asked twice, it is the same question.
fn body(payment: &Payment, order: &Order, resource: &Resource) -> Bytes {
    let bytes = match order.version {
        Version::V1 => order.offer.in_v1(resource).map(|requirements| request(payment, requirements)),
        Version::V2 => None,
    };
    bytes.unwrap_or_else(|| request(payment, &order.offer.requirements))
}

fn request(payment: &Payment, payment_requirements: impl Serialize) -> Bytes {
    let x402_version = payment.version.number();
    let request = FacilitatorRequest { x402_version, payment_payload: &payment.payload, payment_requirements };
    serde_json::to_vec(&request).expect("texts, numbers and JSON are always JSON").into()
}

impl Order {
    /// The same order for what was really used.
    fn charging(&self, amount: u128) -> Self {
        let mut order = self.clone();
        if order.offer.is_metered() {
            order.offer.requirements.amount = amount.to_string();
        }
        order
    }
}

impl Verified {
    /// The answer to a buyer whose payment was not made. It says what became of it and offers nothing: a client that pays whatever is
    /// offered would sign a second payment while the first may still be made.
    fn fail(&self, Failure { error, answer }: Failure) -> HttpResponse {
        let version = self.order.version;
        let mut response = error.into_response();
        if let Some(answer) = answer {
            response.headers_mut().insert(HeaderName::from_static(version.response_header()), answer.to_header());
        }
        response
    }
}

impl Counter {
    /// Sends a buyer away with the offers: in a header for version 2, in the body for version 1.
    fn refuse(&self, error: PaywallError) -> HttpResponse {
        let code = error.code().to_owned();
        let response = error.into_response();
        if response.status() == StatusCode::BAD_REQUEST {
            return response;
        }
        let offer = PaymentRequired {
            x402_version: Version::V2.number(),
            error: &code,
            resource: &self.resource,
            accepts: self.offers.iter().map(|offer| &offer.requirements).collect(),
            extensions: &self.extensions,
        };
        let header = encoded(&offer);
        let mut response = self.with_v1_body(response, &code);
        response.headers_mut().insert(HeaderName::from_static(PAYMENT_REQUIRED), header);
        response
    }

    /// The offers of version 1 as the body, if there are any.
    fn with_v1_body(&self, response: HttpResponse, error: &str) -> HttpResponse {
        let accepts: Vec<_> = self.offers.iter().filter_map(|offer| offer.in_v1(&self.resource)).collect();
        if accepts.is_empty() {
            return response;
        }
        let offer = PaymentRequiredV1 { x402_version: Version::V1.number(), error, accepts };
        let json = serde_json::to_vec(&offer).expect("texts and numbers are always JSON");
        response.set_body(BoxBody::new(json))
    }
}

/// The handler's answer, as it was, with what became of the payment.
fn released(
    mut response: HttpResponse<()>,
    body: Option<Bytes>,
    version: Version,
    answer: &SettleAnswer,
    settlement: Settlement,
) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(version.response_header()), answer.to_header());
    if !headers.contains_key(CACHE_CONTROL) {
        // What one has paid for no cache should give to another.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response.extensions_mut().insert(settlement);
    match body {
        Some(bytes) => response.set_body(BoxBody::new(bytes)),
        None => response.set_body(BoxBody::new(actix_web::body::None::new())),
    }
}

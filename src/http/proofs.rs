//! `/i/{invoice}/proof`: where a payer shows that a transfer of its own pays an invoice. Its signature is its key.

use actix_web::web::{Data, Path, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::Service;
use super::body;
use super::merchant::{Reply, answer};
use super::problem::{Problem, methods};
use crate::domain::ids::InvoiceId;
use crate::domain::network::Network;
use crate::domain::reason::{Reason, Refusal};
use crate::flow::Flows;
use crate::flow::prove::{Presented, Proven};
use crate::flow::verify::Verdict;

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config.service(methods("/i/{invoice}/proof").route(web::post().to(prove)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofBody {
    transaction: String,
    signature: Option<String>,
    network: Option<String>,
}

/// What a payer learns of the invoice that it has paid.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProofView {
    invoice: String,
    status: &'static str,
    transaction: String,
    /// What the payer can be served for. Absent without keys, or while the receipt cannot be read; asking again shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
}

async fn prove(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let presented = match read(&service, &request, payload).await {
        Ok(presented) => presented,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let id: InvoiceId = id.parse().map_err(|_| Problem::NotFound)?;
        let invoice = flows.ledger.find_invoice(id).await?.ok_or(Problem::NotFound)?;
        let proven = flows.present(&invoice, presented).await?;
        Reply::ok(&view(&flows, proven).await?)
    })
    .await
}

async fn read(service: &Service, request: &HttpRequest, payload: Payload) -> Result<Presented, Problem> {
    let bytes = body::read(request, payload, service.server.body_bytes_max).await?;
    let body: ProofBody = crate::api::body::read(&bytes)?;
    let network = body.network.map(|text| text.parse::<Network>()).transpose();
    let network = network.map_err(|_| Problem::BadBody("network: not a CAIP-2 identifier".to_owned()))?;
    Ok(Presented { transaction: body.transaction, signature: body.signature, network })
}

/// Where the invoice stands with this transfer.
async fn view(flows: &Flows, proven: Proven) -> Result<ProofView, Problem> {
    let invoice = flows.ledger.find_invoice(proven.invoice).await?.ok_or(Problem::NotFound)?;
    let receipt = flows.receipt_for_proven(&proven).await;
    Ok(ProofView {
        invoice: invoice.id.to_string(),
        status: invoice.told.status.as_str(),
        transaction: proven.transfer.transaction,
        receipt,
    })
}

impl From<Verdict> for Problem {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Unavailable(cause) => cause.into(),
            Verdict::Refused(Refusal { reason, detail }) => {
                let detail = detail.unwrap_or_else(|| reason.code().to_owned());
                match reason {
                    Reason::InvalidPayload => Self::BadBody(detail),
                    // What is required comes from the invoice itself, so nothing else can be wrong with it.
                    Reason::InvalidPaymentRequirements => {
                        Self::Conflict("invoice_canceled", "the merchant has called the invoice off".to_owned())
                    }
                    Reason::DuplicateSettlement | Reason::SettlementPending => Self::Conflict(reason.code(), detail),
                    reason => Self::Unprocessable(reason.code(), detail),
                }
            }
        }
    }
}

//! `/i/{invoice}/proof`: where a payer shows that a transfer of its own pays an invoice. Its signature is its key.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Service;
use super::body;
use super::endpoint::{Group, Operation, at};
use super::merchant::{Reply, answer};
use super::problem::{Code, Problem};
use crate::api::problem::transfer_status;
use crate::api::status::Status;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice;
use crate::domain::network::Network;
use crate::domain::reason::{Reason, Refusal};
use crate::domain::schema::Transaction;
use crate::flow::Flows;
use crate::flow::prove::{Presented, Proven};
use crate::flow::verify::Verdict;

/// The paths.
pub fn group() -> Group {
    let proving = Operation::new("proveTransfer", "Shows that a transfer of the payer's pays an invoice")
        .about("Takes no key: the payer's signature over what docs/adr/0031-proofs.md says is its key. The same payer is told the same again.")
        .body::<ProofBody>(json!({
            "transaction": "0x82ab6d7af75d9c89581f379026bde2695787ba4b6dfc1a2b38b63fbe18c5621b", "signature": "0x2d6a7588…1c",
        }))
        .answers::<ProofView>(Status::Ok, "The transfer pays the invoice.")
        .problems(&[Code::InvoiceCanceled])
        .refusals(REASONS.map(|reason| (reason, transfer_status(reason))));
    Group {
        name: "Proofs",
        about: "Where a payer shows that a transfer of its own pays an invoice.",
        paths: vec![at("/i/{invoice}/proof").part::<InvoiceId>("invoice").post(prove, proving)],
    }
}

/// Why a transfer that a payer presents does not pay its invoice.
const REASONS: [Reason; 13] = [
    Reason::DuplicateSettlement,
    Reason::SettlementPending,
    Reason::UnsupportedScheme,
    Reason::InvalidNetwork,
    Reason::UnsupportedAsset,
    Reason::TransferNotFound,
    Reason::TransferFailed,
    Reason::TransferAssetMismatch,
    Reason::TransferRecipientMismatch,
    Reason::TransferAmountMismatch,
    Reason::TransferOutOfTime,
    Reason::ProofSignatureMissing,
    Reason::ProofSignatureInvalid,
];

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TransferProof")]
struct ProofBody {
    #[schemars(with = "Transaction")]
    transaction: String,
    /// Of the address that paid.
    signature: Option<String>,
    /// Where the transfer was made, if the invoice can be paid on several networks.
    #[schemars(with = "Option<Network>")]
    network: Option<String>,
}

/// What a payer learns of the invoice that it has paid.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ProvenTransfer")]
struct ProofView {
    #[schemars(with = "InvoiceId")]
    invoice: String,
    #[schemars(with = "invoice::Status")]
    status: &'static str,
    #[schemars(with = "Transaction")]
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
    let bytes = body::read(service, request, payload).await?;
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
                        Self::Refused(Code::InvoiceCanceled, "the merchant has called the invoice off".to_owned())
                    }
                    reason => Self::Transfer(reason, detail),
                }
            }
        }
    }
}

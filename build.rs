//! Compiles the gRPC contract in `proto/`, with a compiler in Rust, so that nobody has to install protoc.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

/// The files of the contract.
const FILES: [&str; 3] = ["quittance/v1/facilitator.proto", "quittance/v1/invoices.proto", "quittance/v1/receipts.proto"];

/// Answers, which are read from the JSON that the same answer has over HTTP. The names of their members agree, in the JSON mapping of
/// protobuf.
const ANSWERS: [&str; 14] = [
    "VerifyResponse",
    "SettleResponse",
    "SupportedResponse",
    "SupportedKind",
    "Invoice",
    "PaymentOption",
    "Transfer",
    "ReceiptLine",
    "InvoicesListResponse",
    "Receipt",
    "ReceiptRevision",
    "ReceiptStatus",
    "ReceiptsVerifyResponse",
    "ReceiptsRedeemResponse",
];

/// Members of answers that are any JSON, and are carried as its text.
const TEXTS_OF_JSON: [(&str, &str); 7] = [
    ("SettleResponse.extensions", "optional_json"),
    ("SupportedKind.extra", "optional_json"),
    ("Invoice.metadata", "json"),
    ("Invoice.accepts", "json_list"),
    ("Invoice.payment_required", "json"),
    ("ReceiptRevision.receipt", "text_or_json"),
    ("ReceiptsVerifyResponse.claims", "optional_json"),
];

/// Members of answers that are moments.
const MOMENTS: [&str; 8] = [
    "Invoice.created_at",
    "Invoice.expires_at",
    "Invoice.closes_at",
    "Invoice.canceled_at",
    "Transfer.happened_at",
    "Receipt.redeemed_at",
    "ReceiptRevision.issued_at",
    "ReceiptsRedeemResponse.redeemed_at",
];

#[expect(clippy::disallowed_methods, reason = "this is how cargo says where to write")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let contract = protox::compile(FILES, ["proto"])?;
    let directory = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(directory.join("quittance.v1.bin"), contract.encode_to_vec())?;

    let mut builder = tonic_prost_build::configure();
    let path = |name: &str| format!("quittance.v1.{name}");
    for name in ANSWERS {
        builder = builder
            .type_attribute(path(name), "#[derive(serde::Deserialize)]")
            .type_attribute(path(name), "#[serde(default, rename_all = \"camelCase\")]");
    }
    builder = builder
        .type_attribute(path("Signers"), "#[derive(serde::Deserialize)]")
        .type_attribute(path("Signers"), "#[serde(transparent)]");
    for (member, reader) in TEXTS_OF_JSON {
        builder = builder.field_attribute(path(member), reading(reader));
    }
    // Beside `pay_to` it cannot have the name that JSON gives it.
    builder = builder.field_attribute(path("PaymentOption.payto_uri"), "#[serde(rename = \"payto\")]");
    for member in MOMENTS {
        builder = builder.field_attribute(path(member), reading("moment"));
    }
    // The other way round: an order is the body of the same request over HTTP.
    builder = builder
        .type_attribute(path("InvoicesCreateRequest"), "#[derive(serde::Serialize)]")
        .type_attribute(path("InvoicesCreateRequest"), "#[serde(rename_all = \"camelCase\")]")
        .field_attribute(path("InvoicesCreateRequest.expires_at"), writing("moment"))
        .field_attribute(path("InvoicesCreateRequest.metadata"), writing("json"));
    builder.compile_fds(contract)?;
    Ok(())
}

fn reading(reader: &str) -> String {
    format!("#[serde(deserialize_with = \"crate::grpc::json::read::{reader}\")]")
}

fn writing(writer: &str) -> String {
    format!("#[serde(serialize_with = \"crate::grpc::json::write::{writer}\")]")
}

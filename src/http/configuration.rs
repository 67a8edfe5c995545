//! `/v1/configuration`: reading it again while the service runs, for operators.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::endpoint::{Callers, Group, Operation, at};
use super::problem::{Code, Problem};
use super::{Service, auth};
use crate::api::status::Status;

/// The paths.
pub fn group() -> Group {
    let example = json!({"changes": ["networks eip155:8453", "limits"]});
    let reloading = Operation::new("reloadConfiguration", "Has the replica that answers read its configuration again")
        .about(
            "All of it is good and taken in one step, or nothing changes and the problem names everything that is wrong. Requests end by the \
             configuration that they began with. Other replicas are asked by themselves, or sent SIGHUP.",
        )
        .of(Callers::Operators)
        .answers_like::<Reloaded>(Status::Ok, "It was taken.", example)
        .problems(&[Code::InvalidConfiguration, Code::Unavailable]);
    Group {
        name: "Configuration",
        about: "What operators decide in files and variables.",
        paths: vec![at("/v1/configuration/reload").post(reload, reloading)],
    }
}

#[derive(Serialize, JsonSchema)]
struct Reloaded {
    /// What is different now: `networks` with each network, `limits`, `receipts`, `log.filter`.
    changes: Vec<String>,
}

async fn reload(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    if let Err(problem) = auth::operator(&service, &request).await {
        return problem.response();
    }
    match service.reloads.ask().await {
        Some(Ok(changes)) => HttpResponse::Ok().json(Reloaded { changes }),
        Some(Err(refused)) => Problem::Refused(Code::InvalidConfiguration, refused.to_string()).response(),
        None => Problem::Unavailable.response(),
    }
}

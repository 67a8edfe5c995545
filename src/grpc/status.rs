//! How answers of `api` end a call: the code of gRPC for each status, and what stands beside it (google.rpc).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::api::Service;
use crate::api::facilitator::name_of;
use crate::api::problem::{Name, Problem};
use crate::api::reply::Reply;
use crate::api::status::Status as Ended;
use crate::flow::Flows;
use crate::x402::extension_responses;

/// Whose codes they are, in the details of an error.
const DOMAIN: &str = "quittance";

/// The members of a typed answer that an error tells, too.
const ABOUT: [&str; 3] = ["payer", "network", "transaction"];

/// The code for a status. docs/GRPC.md has the same table.
const fn code(ended: Ended) -> Code {
    match ended {
        Ended::Ok | Ended::Created | Ended::SeeOther => Code::Ok,
        Ended::BadRequest | Ended::UnsupportedMediaType | Ended::Unprocessable => Code::InvalidArgument,
        Ended::Unauthorized => Code::Unauthenticated,
        Ended::Forbidden => Code::PermissionDenied,
        Ended::NotFound => Code::NotFound,
        Ended::MethodNotAllowed => Code::Unimplemented,
        Ended::RequestTimeout => Code::DeadlineExceeded,
        Ended::Conflict => Code::Aborted,
        Ended::PayloadTooLarge => Code::OutOfRange,
        Ended::TooManyRequests => Code::ResourceExhausted,
        Ended::Internal => Code::Internal,
        Ended::Unavailable => Code::Unavailable,
    }
}

/// An error with our code, the same as over HTTP, and, where asking again may help, when.
fn error(ended: Ended, reason: &str, words: &str, about: HashMap<String, String>, retry_after: Option<Duration>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, about);
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Status::with_error_details(code(ended), words, details)
}

/// The error that a problem is.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub fn of(problem: Problem) -> Status {
    named(&problem, None)
}

/// The same for an endpoint with a code of its own for what is nobody's payment's fault.
pub fn named(problem: &Problem, unexpected: Option<&'static str>) -> Status {
    let Name { status, code, .. } = name_of(problem, unexpected);
    error(status, code, &problem.to_string(), HashMap::new(), problem.retry_after())
}

/// Reads an answer as its message. One that says that the request was not answered is an error with the same code.
///
/// # Errors
/// It is such a one.
pub fn message<M: DeserializeOwned>(reply: &Reply) -> Result<M, Status> {
    let unreadable = |_| of(Problem::Internal);
    if reply.status().is_answer() {
        return serde_json::from_slice(reply.body()).map_err(unreadable);
    }
    let answer: Value = serde_json::from_slice(reply.body()).map_err(unreadable)?;
    let text = |names: &[&str]| names.iter().find_map(|name| answer.get(name)?.as_str()).unwrap_or_default();
    let about = ABOUT.into_iter().map(|name| (name.to_owned(), text(&[name]).to_owned()));
    let about = about.filter(|(_, text)| !text.is_empty()).collect();
    let (reason, words) = (text(&["invalidReason", "errorReason"]), text(&["invalidMessage", "errorMessage"]));
    Err(error(reply.status(), reason, words, about, reply.retry_after()))
}

/// Runs a flow, and reads what it says as a message.
///
/// # Errors
/// What it says is an error.
pub async fn answer<F, M>(service: &Service, flow: impl FnOnce(Arc<Flows>) -> F) -> Result<M, Status>
where
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
    M: DeserializeOwned,
{
    let reply = service.run(flow(service.flows())).await.unwrap_or_else(|crashed| Err(crashed.into()));
    message(&reply.map_err(of)?)
}

/// Reads an answer as its message, for a response, with what extensions of the protocol say in its metadata.
///
/// # Errors
/// See [`message`].
pub fn respond<M: DeserializeOwned>(reply: &Reply) -> Result<Response<M>, Status> {
    let mut response = Response::new(message(reply)?);
    if let Some(text) = reply.extensions().encode().and_then(|text| text.parse().ok()) {
        response.metadata_mut().insert(extension_responses::HEADER, text);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_none_says_why_with_the_same_code() {
        let body = serde_json::json!({"success": false, "errorReason": "invalid_json", "errorMessage": "no", "payer": "", "network": "base"});
        let reply = Reply::json(Ended::BadRequest, &body).unwrap();

        let status = message::<super::super::v1::SettleResponse>(&reply).unwrap_err();

        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "no"));
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("invalid_json", "quittance"));
        assert_eq!(info.metadata, HashMap::from([("network".to_owned(), "base".to_owned())]));
        assert!(status.get_details_retry_info().is_none());
    }

    #[test]
    fn what_may_pass_says_when_to_ask_again() {
        let status = named(&Problem::Unavailable, Some("unexpected_settle_error"));

        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.get_details_error_info().unwrap().reason, "unexpected_settle_error");
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    }

    #[test]
    fn grpc_md_has_the_code_of_every_status() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/GRPC.md")).unwrap();
        let row = |ended: Ended| {
            let name = format!("{:?}", code(ended)).chars().fold(String::new(), |mut name, letter| {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
                name
            });
            format!("| {} | `{name}` |", ended.number())
        };
        for ended in Ended::ALL {
            assert!(page.contains(&row(ended)), "docs/GRPC.md lacks {}", row(ended));
        }
    }
}

//! The gate through which every request goes before anything is done for it.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderValue;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};

use super::problem::Problem;
use super::{Service, auth, facilitator, pages};
use crate::api::admission;
use crate::flow::limits::{Limited, Origin};

/// Whether whoever asks for this is not counted: health must be told at any moment.
pub fn is_exempt(path: &str) -> bool {
    matches!(path, "/health" | "/")
}

/// Lets a request in, or answers it in the words of its path.
pub async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let service = request.app_data::<Data<Service>>().filter(|_| !is_exempt(request.path())).cloned();
    if let Some(service) = service {
        match admit(&service, request.request()) {
            Ok(origin) => {
                request.extensions_mut().insert(origin);
            }
            Err(limited) => {
                let problem = Problem::Limited(limited);
                let answer = pages::refuse(&service, request.request(), &problem);
                let answer = answer.unwrap_or_else(|| facilitator::refuse(request.path(), &problem));
                return Ok(request.into_response(answer).map_into_boxed_body());
            }
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

fn admit(service: &Service, request: &HttpRequest) -> Result<Origin, Limited> {
    let peer = request.peer_addr().map(|address| address.ip());
    admission::admit(service, auth::envelope(request), peer, |name| request.headers().get_all(name).map(text))
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// For whom a request counts that was let in.
pub fn origin(request: &HttpRequest) -> Option<Origin> {
    request.extensions().get().copied()
}

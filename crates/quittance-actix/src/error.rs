//! Everything that keeps an answer from being released, and how each of it reads over HTTP.

use std::error::Error;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use crate::facilitator::FacilitatorError;
use crate::receipt::ReceiptError;
use crate::wire::PaymentError;

/// What a resource server answers where the buyer first has to let Permit2 move its tokens.
const ALLOWANCE_REQUIRED: &str = "permit2_allowance_required";

/// Why nothing was sold. The error of the response that the buyer gets instead, for what logs or counts responses.
#[derive(Debug, thiserror::Error)]
pub enum PaywallError {
    /// There is no payment in the request.
    #[error("this has to be paid for")]
    Unpaid,
    /// There is something in its place.
    #[error("the payment cannot be read")]
    MalformedPayment(#[from] PaymentError),
    /// The payment is for something that is not offered here.
    #[error("the payment takes none of the offers")]
    NotOffered,
    /// The facilitator says that the payment is not good. Nothing was done for it.
    #[error("the payment is not good: {reason}")]
    Refused {
        /// The facilitator's code.
        reason: String,
    },
    /// The payment was good, and was not made.
    #[error("the payment was not made: {reason}")]
    NotSettled {
        /// The facilitator's code.
        reason: String,
    },
    /// The payment was sent, and its end is not known. The same payment, sent again, finds out.
    #[error("the payment is under way")]
    Pending {
        /// The transaction that may pay.
        transaction: String,
    },
    /// The facilitator gave no answer that means anything.
    #[error("the facilitator gave no answer")]
    Facilitator(#[from] FacilitatorError),
    /// The facilitator takes none of the ways in which this route can be paid.
    #[error("the facilitator takes none of the ways in which this can be paid")]
    NothingOffered,
    /// The facilitator says that the payment is made, and its signature does not.
    #[error("the facilitator's receipt does not hold")]
    Receipt(#[from] ReceiptError),
    /// The handler's answer is longer than what is kept back.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The most that is kept back.
        limit: usize,
    },
    /// The handler's answer was not complete before the payment ran out.
    #[error("the answer was not complete before the payment ran out")]
    TooSlow,
    /// The handler's answer broke off. Why is for the log, and not for the buyer.
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn Error>),
    /// The handler wants to speak another protocol, of which nothing can be kept back.
    #[error("a paid route cannot switch protocols")]
    Upgrade,
}

impl PaywallError {
    /// The word that programs read.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unpaid => "payment_required",
            Self::MalformedPayment(_) => "invalid_payment",
            Self::NotOffered => "payment_not_offered",
            Self::Refused { reason } | Self::NotSettled { reason } => reason,
            Self::Pending { .. } => "settlement_pending",
            Self::Facilitator(FacilitatorError::Malformed(_)) => "facilitator_malformed",
            Self::Facilitator(FacilitatorError::Unauthorized) => "facilitator_unauthorized",
            Self::Facilitator(_) => "facilitator_unavailable",
            Self::NothingOffered => "nothing_offered",
            Self::Receipt(_) => "facilitator_receipt_invalid",
            Self::TooLarge { .. } => "answer_too_large",
            Self::TooSlow => "answer_too_slow",
            Self::Broken(_) => "answer_broken",
            Self::Upgrade => "answer_not_payable",
        }
    }

    /// Whether it is the buyer's turn, and nobody here has to be told.
    const fn is_the_buyers(&self) -> bool {
        matches!(
            self,
            Self::Unpaid
                | Self::MalformedPayment(_)
                | Self::NotOffered
                | Self::Refused { .. }
                | Self::NotSettled { .. }
                | Self::Pending { .. }
        )
    }

    /// The response, which remembers this error.
    pub(crate) fn into_response(self) -> HttpResponse {
        if !self.is_the_buyers() {
            log::error!("{}", chain(&self));
        }
        HttpResponse::from_error(self)
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::Facilitator(FacilitatorError::RateLimited { retry_after }) => retry_after.as_ref()?.parse().ok(),
            _ => None,
        }
    }
}

impl ResponseError for PaywallError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Refused { reason } if reason == ALLOWANCE_REQUIRED => StatusCode::PRECONDITION_FAILED,
            Self::Unpaid | Self::NotOffered | Self::Refused { .. } | Self::NotSettled { .. } | Self::Pending { .. } => {
                StatusCode::PAYMENT_REQUIRED
            }
            Self::MalformedPayment(_) => StatusCode::BAD_REQUEST,
            Self::Facilitator(FacilitatorError::Malformed(_) | FacilitatorError::Unauthorized) | Self::Receipt(_) => {
                StatusCode::BAD_GATEWAY
            }
            Self::Facilitator(_) | Self::NothingOffered => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge { .. } | Self::TooSlow | Self::Broken(_) | Self::Upgrade => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CACHE_CONTROL, "no-store"));
        if let Some(retry_after) = self.retry_after() {
            response.insert_header((RETRY_AFTER, retry_after));
        }
        response.json(json!({"error": self.code(), "message": self.to_string()}))
    }
}

/// An error with everything behind it, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        text.push_str(": ");
        text.push_str(&error.to_string());
        behind = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nobodys_fault_but_the_facilitators_is_never_a_402() {
        let refused = |reason: &str| PaywallError::Refused { reason: reason.to_owned() };
        let unavailable = FacilitatorError::Unavailable { status: 503, code: Some("unexpected_settle_error".to_owned()) };
        for (error, status, code) in [
            (PaywallError::Unpaid, 402, "payment_required"),
            (PaymentError::NotBase64.into(), 400, "invalid_payment"),
            (refused("insufficient_funds"), 402, "insufficient_funds"),
            (refused("permit2_allowance_required"), 412, "permit2_allowance_required"),
            (PaywallError::Pending { transaction: "0x1".to_owned() }, 402, "settlement_pending"),
            (FacilitatorError::Slow.into(), 503, "facilitator_unavailable"),
            (unavailable.into(), 503, "facilitator_unavailable"),
            (FacilitatorError::Unauthorized.into(), 502, "facilitator_unauthorized"),
            (FacilitatorError::Malformed("x").into(), 502, "facilitator_malformed"),
            (ReceiptError::Missing.into(), 502, "facilitator_receipt_invalid"),
            (PaywallError::NothingOffered, 503, "nothing_offered"),
            (PaywallError::TooLarge { limit: 1 }, 500, "answer_too_large"),
        ] {
            assert_eq!((error.status_code().as_u16(), error.code()), (status, code));
        }
    }

    #[test]
    fn a_seller_asked_to_wait_asks_the_buyer_to_wait() {
        let limited = PaywallError::from(FacilitatorError::RateLimited { retry_after: Some("7".to_owned()) });

        let response = limited.into_response();
        let header = |name| response.headers().get(name).unwrap();
        assert_eq!(
            (response.status().as_u16(), header(RETRY_AFTER), header(CACHE_CONTROL).as_bytes()),
            (503, &HeaderValue::from_static("7"), &b"no-store"[..])
        );
        assert!(matches!(response.error().unwrap().as_error(), Some(PaywallError::Facilitator(_))));
    }

    #[test]
    fn the_log_has_the_causes() {
        let error = PaywallError::from(ReceiptError::Differs("amount"));

        assert_eq!(chain(&error), "the facilitator's receipt does not hold: the receipt is for another amount");
    }
}

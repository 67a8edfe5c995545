#![doc = include_str!("../README.md")]

mod error;
mod facilitator;
mod paid;
mod paywall;
mod price;
mod receipt;
mod sale;
mod terms;
mod token;
mod wire;

pub use self::error::PaywallError;
pub use self::facilitator::{Facilitator, FacilitatorError, SetupError};
pub use self::paid::{Meter, MeterError, NotPaid, Paid};
pub use self::paywall::{Paywall, PaywallBuilder, PaywallService};
pub use self::price::{Price, PriceError};
pub use self::receipt::ReceiptError;
pub use self::sale::Settlement;
pub use self::terms::TermsError;
pub use self::token::Token;
pub use self::wire::{PaymentError, Requirements, Version};

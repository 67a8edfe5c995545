//! Identifiers of our own things: `UUIDv7` in the ledger, a prefix and 32 hexadecimal digits on the outside.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The text is not an identifier of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the form {prefix}<32 hexadecimal digits>")]
pub struct ParseIdError {
    /// What the identifier must begin with.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a new identifier; later ones sort behind earlier ones.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "a new identifier differs from every other, a default must not")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Takes an identifier from the ledger.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The identifier as the ledger stores it.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.len() == 32)
                    .and_then(|digits| Uuid::try_parse(digits).ok())
                    .map(Self)
                    .ok_or(ParseIdError { prefix: $prefix })
            }
        }
    };
}

id!(
    /// Who talks to us: a provider, a merchant, often both.
    AccountId,
    "acc_"
);
id!(
    /// An API key; the part before the secret.
    ApiKeyId,
    "key_"
);
id!(
    /// A settlement that we were asked to make.
    PaymentId,
    "pay_"
);
id!(
    /// One slot of a lane with the payments that it carries.
    SubmissionId,
    "sub_"
);
id!(
    /// A paid resource that can be found.
    ResourceId,
    "rsc_"
);
id!(
    /// Something that an account is told.
    EventId,
    "evt_"
);
id!(
    /// A receiving address that an account registered.
    AddressId,
    "adr_"
);
id!(
    /// A transfer to an address of an account.
    TransferId,
    "trf_"
);
id!(
    /// What a merchant expects to be paid.
    InvoiceId,
    "inv_"
);
id!(
    /// A signed statement over a transfer, in all its revisions.
    ReceiptId,
    "rct_"
);
id!(
    /// Where an account is told of events.
    WebhookId,
    "whk_"
);
id!(
    /// One event for one webhook.
    DeliveryId,
    "dlv_"
);
id!(
    /// One comparison of a network with the ledger.
    ReconciliationId,
    "rec_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_read_back_only_under_its_own_prefix() {
        let id = PaymentId::new();

        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().parse::<AccountId>().is_err());
        assert!("pay_1234".parse::<PaymentId>().is_err());
    }
}

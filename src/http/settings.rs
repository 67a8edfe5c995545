//! `/v1/settings`: what a merchant decides for all of its payments.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, Repeats, at};
use super::merchant::{Change, Reply, answer};
use super::problem::{Code, Problem};
use crate::api::body::BodyError;
use crate::api::status::Status;
use crate::domain::answer::{AnswerPolicy, BOUND_PLACES, Tier};
use crate::domain::block::Level;
use crate::ledger::settings::{self, Settings};

/// The paths.
pub fn group() -> Group {
    let example = json!({"answerAt": [{"below": "1.00", "at": "included"}, {"at": "final"}], "offerReceipts": true});
    let showing = Operation::new("getSettings", "Shows what the merchant has decided")
        .of(Callers::Merchants)
        .answers_like::<Wire>(Status::Ok, "The settings.", example.clone());
    let replacing = Operation::new("putSettings", "Puts settings in the place of those before")
        .about("What is left out is as it was before anything was decided.")
        .of(Callers::Merchants)
        .repeats(Repeats::Checked)
        .body::<Wire>(example.clone())
        .answers_like::<Wire>(Status::Ok, "The settings.", example)
        .problems(&[Code::InvalidSettings]);
    Group {
        name: "Settings",
        about: "What a merchant decides for all of its payments.",
        paths: vec![at("/v1/settings").get(show, showing).put(replace, replacing)],
    }
}

/// What is left out is as it was before anything was decided.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Settings")]
struct Wire {
    /// How deep transfers must stand before payments to the merchant are answered with success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer_at: Option<AnswerAt>,
    /// Whether answers of `/settle` carry the receipt in the shape of the extension `offer-receipt`, too.
    #[serde(default)]
    offer_receipts: bool,
}

impl Wire {
    fn into_settings(self) -> Result<Settings, Problem> {
        let answer_at = self.answer_at.map(AnswerAt::into_policy).transpose()?;
        Ok(Settings { answer_at, offer_receipts: self.offer_receipts })
    }
}

impl From<&Settings> for Wire {
    fn from(settings: &Settings) -> Self {
        Self { answer_at: settings.answer_at.as_ref().map(AnswerAt::from), offer_receipts: settings.offer_receipts }
    }
}

/// Each settlement reads them.
const TIERS_MAX: usize = 16;

/// One level, or levels by amount.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum AnswerAt {
    Always(Level),
    ByAmount(Vec<Tier>),
}

impl AnswerAt {
    fn into_policy(self) -> Result<AnswerPolicy, Problem> {
        let tiers = match self {
            Self::Always(at) => return Ok(AnswerPolicy::always(at)),
            Self::ByAmount(tiers) => tiers,
        };
        if tiers.len() > TIERS_MAX {
            return Err(Problem::Refused(Code::InvalidSettings, format!("answerAt: more than {TIERS_MAX} tiers")));
        }
        let why = "answerAt: amounts rise from tier to tier, levels never fall, and only the last has no `below`";
        AnswerPolicy::by_amount(tiers, BOUND_PLACES).ok_or_else(|| Problem::Refused(Code::InvalidSettings, why.to_owned()))
    }
}

impl From<&AnswerPolicy> for AnswerAt {
    fn from(policy: &AnswerPolicy) -> Self {
        match policy.tiers() {
            [Tier { below: None, at }] => Self::Always(*at),
            tiers => Self::ByAmount(tiers.to_vec()),
        }
    }
}

async fn show(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let account = match auth::merchant(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let mut db = flows.ledger.acquire().await?;
        Reply::ok(&Wire::from(&settings::find(&mut db, account).await?))
    })
    .await
}

async fn replace(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let change = match Change::<Wire>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    // Elsewhere no body is an empty one. Here that would undo whatever was decided.
    if !request.headers().contains_key(CONTENT_TYPE) {
        return Problem::from(BodyError::UnsupportedMedia).response();
    }
    answer(&service, |flows| async move {
        // To set twice is to set once, so a key has nothing to add here.
        let settings = change.body.into_settings()?;
        flows.set_settings(change.account, &settings).await?;
        Reply::ok(&Wire::from(&settings))
    })
    .await
}

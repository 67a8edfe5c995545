//! `/v1/settings`: what a merchant decides for all of its payments.

use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::Service;
use super::auth;
use super::merchant::{Change, Reply, answer};
use super::problem::{Problem, methods};
use crate::domain::answer::{AnswerPolicy, BOUND_PLACES, Tier};
use crate::domain::block::Level;
use crate::ledger::settings::{self, Settings};

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config.service(methods("/v1/settings").route(web::get().to(show)).route(web::put().to(replace)));
}

/// What is left out is as it was before anything was decided.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer_at: Option<AnswerAt>,
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
#[derive(Serialize, Deserialize)]
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
            return Err(Problem::Unprocessable("invalid_settings", format!("answerAt: more than {TIERS_MAX} tiers")));
        }
        let why = "answerAt: amounts rise from tier to tier, levels never fall, and only the last has no `below`";
        AnswerPolicy::by_amount(tiers, BOUND_PLACES).ok_or_else(|| Problem::Unprocessable("invalid_settings", why.to_owned()))
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
    answer(&service, |flows| async move {
        // To set twice is to set once, so a key has nothing to add here.
        let settings = change.body.into_settings()?;
        flows.set_settings(change.account, &settings).await?;
        Reply::ok(&Wire::from(&settings))
    })
    .await
}

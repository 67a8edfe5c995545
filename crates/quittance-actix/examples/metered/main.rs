//! Text by the word: the buyer agrees to a price at most, and pays for the words that it sent and got.
//!
//! ```text
//! cargo run --package quittance-actix --example metered -- http://127.0.0.1:4020 eip155:84532=0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65
//! ```
//!
//! Asked for `POST /v1/generate` with `{"prompt": "The ferry", "maxTokens": 40, "seed": 7}`, it answers the text with what was used.
//! A third argument is the port. The facilitator has to know the scheme `upto` on the network.

mod model;

use std::error::Error;

use actix_web::{App, HttpServer, web};
use quittance_actix::{Facilitator, Meter, MeterError, Paid, Paywall, Price};
use serde::{Deserialize, Serialize};

use self::model::{Model, tokens};

const USAGE: &str = "metered FACILITATOR NETWORK=ADDRESS [PORT]";

/// The most that one answer costs.
const PRICE_MAX: Price = Price::micro_usdc(2_000);
/// What a token of the prompt costs.
const PER_INPUT_TOKEN: Price = Price::micro_usdc(5);
/// What a token of the answer costs.
const PER_OUTPUT_TOKEN: Price = Price::micro_usdc(20);

const TOKENS_DEFAULT: usize = 40;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    prompt: String,
    max_tokens: Option<usize>,
    #[serde(default)]
    seed: u64,
}

#[derive(Serialize)]
struct Answer {
    text: String,
    payer: String,
    usage: Usage,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    input_tokens: usize,
    output_tokens: usize,
    /// In atomic units of the token that pays.
    charged: String,
}

async fn generate(
    model: web::Data<Model>,
    order: web::Json<Order>,
    paid: Paid,
    meter: Meter,
) -> Result<web::Json<Answer>, MeterError> {
    let prompt = tokens(&order.prompt);
    let total = |price: Price, count: usize| price.times(count as u64).ok_or(MeterError::OverLimit { limit: paid.amount() });
    // A prompt that costs more than the buyer pays at most is refused, and costs nothing.
    meter.charge(total(PER_INPUT_TOKEN, prompt.len())?)?;
    let affordable = usize::try_from(meter.affords(PER_OUTPUT_TOKEN)).unwrap_or(usize::MAX);
    let wanted = order.max_tokens.unwrap_or(TOKENS_DEFAULT).min(affordable);
    let output: Vec<_> = model.continued(&prompt, order.seed).take(wanted).collect();
    let charged = meter.charge(total(PER_OUTPUT_TOKEN, output.len())?)?;
    let usage = Usage { input_tokens: prompt.len(), output_tokens: output.len(), charged: charged.to_string() };
    Ok(web::Json(Answer { text: model::written(&output), payer: paid.payer().to_owned(), usage }))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let facilitator = Facilitator::new(&arguments.next().ok_or(USAGE)?)?;
    let recipient = arguments.next().ok_or(USAGE)?;
    let (network, address) = recipient.split_once('=').ok_or(USAGE)?;
    let port = arguments.next().map_or(Ok(8080), |port| port.parse::<u16>())?;
    let paywall = Paywall::up_to(&facilitator, PRICE_MAX)
        .pay_to(network, address)
        .description("Text, at most 2,000 millionths of a USDC: 5 for a token of the prompt, 20 for one of the answer")
        .mime_type("application/json")
        .build()?;
    let model = web::Data::new(Model::new(include_str!("harbour.txt")));

    let server = HttpServer::new(move || {
        let route = web::resource("/v1/generate").wrap(paywall.clone()).route(web::post().to(generate));
        App::new().app_data(model.clone()).service(route)
    });
    println!("Text is sold at http://127.0.0.1:{port}/v1/generate");
    Ok(server.bind(("127.0.0.1", port))?.run().await?)
}

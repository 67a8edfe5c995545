//! The weather of one place, for a tenth of a cent on one network or on several.
//!
//! ```text
//! cargo run --package quittance-actix --example weather -- http://127.0.0.1:4020 eip155:84532=0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65
//! ```

use std::error::Error;

use actix_web::{App, HttpServer, Responder, web};
use quittance_actix::{Facilitator, Paid, Paywall, Price};

const USAGE: &str = "weather FACILITATOR NETWORK=ADDRESS…";

async fn weather(paid: Paid) -> impl Responder {
    format!("It is sunny where you pay from, {}.\n", paid.payer())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let facilitator = Facilitator::new(&arguments.next().ok_or(USAGE)?)?;
    let mut paywall = Paywall::exactly(&facilitator, Price::usdc("0.001")?).description("The weather").mime_type("text/plain");
    for recipient in arguments {
        let (network, address) = recipient.split_once('=').ok_or(USAGE)?;
        paywall = paywall.pay_to(network, address);
    }
    let paywall = paywall.build()?;

    let server = HttpServer::new(move || App::new().service(web::resource("/weather").wrap(paywall.clone()).to(weather)));
    println!("The weather is sold at http://127.0.0.1:8080/weather");
    Ok(server.bind(("127.0.0.1", 8080))?.run().await?)
}

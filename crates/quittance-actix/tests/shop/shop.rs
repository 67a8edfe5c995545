//! A shop with every kind of paid route, for the tests that buy from it (tests/actix). What it is told stands in its environment.

#![expect(clippy::disallowed_methods, reason = "a program of the tests is told what to do by its environment")]

use std::env;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer, Responder};
use quittance_actix::{Facilitator, Paid, Paywall, Price, Settlement};
use serde_json::{Value, json};

/// How often a handler has worked.
static WORKED: AtomicU64 = AtomicU64::new(0);

/// The most that is kept back of an answer.
const BODY_MAX: usize = 10_000;

fn goods() -> HttpResponse {
    WORKED.fetch_add(1, Ordering::SeqCst);
    HttpResponse::Ok().json(json!({"answer": "forty-two"}))
}

async fn paid() -> HttpResponse {
    goods()
}

async fn whose(paid: Paid) -> impl Responder {
    let (payer, amount, network) = (paid.payer(), paid.amount().to_string(), paid.network());
    web::Json(json!({"payer": payer, "amount": amount, "network": network, "requirements": paid.requirements()}))
}

async fn failing() -> HttpResponse {
    WORKED.fetch_add(1, Ordering::SeqCst);
    HttpResponse::InternalServerError().json(json!({"error": "forty-two is out of stock"}))
}

async fn erring() -> Result<HttpResponse, actix_web::Error> {
    WORKED.fetch_add(1, Ordering::SeqCst);
    Err(actix_web::error::ErrorConflict("forty-two is taken"))
}

async fn long() -> HttpResponse {
    HttpResponse::Ok().body("forty-two ".repeat(BODY_MAX))
}

async fn streamed() -> HttpResponse {
    let pieces = ["forty", "-", "two"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
    HttpResponse::Ok().insert_header(("cache-control", "private, max-age=60")).streaming(futures_util::stream::iter(pieces))
}

async fn empty() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

async fn worked() -> impl Responder {
    web::Json::<Value>(WORKED.load(Ordering::SeqCst).into())
}

fn told(name: &str) -> Result<String, Box<dyn Error>> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let facilitator = Facilitator::new(&told("FACILITATOR_URL")?)?;
    let price = Price::usdc("0.001")?;
    let mut paywall =
        Paywall::exactly(&facilitator, price).description("An answer").mime_type("application/json").max_body(BODY_MAX);
    // One recipient for each network, both separated by spaces.
    for (network, pay_to) in told("NETWORK")?.split(' ').zip(told("PAY_TO")?.split(' ')) {
        paywall = paywall.pay_to(network, pay_to);
    }
    let unsigned = paywall.clone().without_receipts().build()?;
    let paywall = paywall.build()?;

    let server = HttpServer::new(move || {
        let sold = |path: &str| web::resource(path).wrap(paywall.clone());
        App::new()
            // Outside of the paywall: what a shop would keep its books by.
            .wrap_fn(|request, service| {
                let answering = actix_web::dev::Service::call(service, request);
                async move {
                    let mut answer = answering.await?;
                    let booked = answer.response().extensions().get::<Settlement>().map(|sold| sold.transaction.clone());
                    if let Some(transaction) = booked {
                        let name = actix_web::http::header::HeaderName::from_static("x-booked");
                        answer.headers_mut().insert(name, transaction.parse()?);
                    }
                    Ok::<_, actix_web::Error>(answer)
                }
            })
            .service(sold("/paid").to(paid))
            .service(sold("/whose").to(whose))
            .service(sold("/failing").to(failing))
            .service(sold("/erring").to(erring))
            .service(sold("/long").to(long))
            .service(sold("/streamed").to(streamed))
            .service(sold("/empty").to(empty))
            .service(web::resource("/unsigned").wrap(unsigned.clone()).to(paid))
            .route("/worked", web::get().to(worked))
    });
    Ok(server.workers(2).bind(("127.0.0.1", told("PORT")?.parse::<u16>()?))?.run().await?)
}

//! The icon, the style and the script of the pages. Their addresses name what they hold, so that browsers keep them for as long as they like.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};

use crate::domain::address::encode_hex;
use crate::http::endpoint::{Operation, PathItem, at};

/// Bytes of a hash that tell one release's file from another's.
const VERSION_BYTES: usize = 8;

/// What a browser may do with a file under the address of its content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A file that pages name.
pub struct Asset {
    path: &'static str,
    media: &'static str,
    content: &'static str,
    version: LazyLock<String>,
}

macro_rules! asset {
    ($name:literal, $media:literal) => {{
        const CONTENT: &str = include_str!(concat!("../../../templates/assets/", $name));
        Asset {
            path: concat!("/assets/", $name),
            media: $media,
            content: CONTENT,
            version: LazyLock::new(|| encode_hex(&Sha256::digest(CONTENT)[..VERSION_BYTES])),
        }
    }};
}

/// What browsers show beside the title.
pub static ICON: Asset = asset!("icon.svg", "image/svg+xml");

/// How pages look.
pub static STYLE: Asset = asset!("style.css", "text/css; charset=utf-8");

/// Follows an invoice, and copies what is to be copied.
pub static SCRIPT: Asset = asset!("follow.js", "text/javascript; charset=utf-8");

impl Asset {
    /// Where it is: at an address that changes with its content.
    pub fn url(&self) -> String {
        format!("{}?v={}", self.path, *self.version)
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        response.content_type(self.media).insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        // Another replica may be of another release, whose file must not be kept under this one's address.
        if request.query_string() == format!("v={}", *self.version) {
            response.insert_header((CACHE_CONTROL, FOR_EVER));
        }
        response.body(self.content)
    }
}

/// The paths.
pub fn paths() -> Vec<PathItem> {
    let icon = Operation::constant("getIcon", "The icon of the pages").answers_text("It.", "image/svg+xml", "<svg/>");
    let style = Operation::constant("getStyle", "The style of the pages").answers_text("It.", "text/css", "body { margin: 0; }");
    let script =
        Operation::constant("getScript", "The script of the pages").answers_text("It.", "text/javascript", "'use strict';");
    vec![
        at(ICON.path).get(|request: HttpRequest| async move { ICON.answer(&request) }, icon),
        at(STYLE.path).get(|request: HttpRequest| async move { STYLE.answer(&request) }, style),
        at(SCRIPT.path).get(|request: HttpRequest| async move { SCRIPT.answer(&request) }, script),
    ]
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_file_is_kept_only_under_the_address_of_its_content() {
        let kept = |uri: &str| {
            let response = STYLE.answer(&TestRequest::with_uri(uri).to_http_request());
            response.headers().get(CACHE_CONTROL).map(|value| value.to_str().unwrap().to_owned())
        };

        assert_eq!(kept(&STYLE.url()).as_deref(), Some(FOR_EVER));
        assert_eq!(kept("/assets/style.css"), None);
        assert_eq!(kept("/assets/style.css?v=0x00"), None);
        assert_ne!(STYLE.url().split_once('=').unwrap().1, SCRIPT.url().split_once('=').unwrap().1);
    }
}

//! Where a resource is, as the catalogue has it.

use serde_json::Value;
use url::{Position, Url};

use super::super::percent;
use super::{Kind, Rejection};

/// Longest address of a resource.
const URL_BYTES_MAX: usize = 2048;

/// Escapes may be nested this deeply before a template is taken for an attempt to hide something.
const DECODINGS_MAX: usize = 5;

/// The address of a resource without query and fragment, and with `template` in the place of its path.
///
/// # Errors
/// [`Rejection::Url`] or [`Rejection::RouteTemplate`].
pub(super) fn catalogue_url(kind: Kind, text: &str, template: Option<&Value>) -> Result<String, Rejection> {
    let url = Some(text).filter(|text| text.len() <= URL_BYTES_MAX).and_then(|text| Url::parse(text).ok());
    let url = url.filter(|url| is_address(kind, url)).ok_or(Rejection::Url)?;
    let listed = match template {
        Some(template) => {
            let template = template.as_str().filter(|template| is_template(template)).ok_or(Rejection::RouteTemplate)?;
            format!("{}{template}", &url[..Position::BeforePath])
        }
        None => url[..Position::AfterPath].to_owned(),
    };
    // Escapes may have made it longer.
    Some(listed).filter(|listed| listed.len() <= URL_BYTES_MAX).ok_or(Rejection::Url)
}

/// Tools may have addresses of their own scheme.
fn is_address(kind: Kind, url: &Url) -> bool {
    let is_scheme = ["http", "https"].contains(&url.scheme()) || kind == Kind::Mcp && url.scheme() == "mcp";
    is_scheme && url.has_host() && url.username().is_empty() && url.password().is_none()
}

/// Whether it is a path like `/users/:id` and stays one, however often it is decoded.
fn is_template(template: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_/:.-~%".contains(&byte);
    let is_path = template.len() > 1 && template.starts_with('/') && template.bytes().all(is_plain);
    is_path && decoded(template).is_some_and(|decoded| !decoded.contains("..") && !decoded.contains("://"))
}

/// The template without any escapes; `None` if it has malformed ones, or does not come to an end.
fn decoded(template: &str) -> Option<String> {
    let mut text = template.to_owned();
    for _ in 0..DECODINGS_MAX {
        let next = percent::decode(&text)?;
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(url: &str, template: Option<&str>) -> Result<String, Rejection> {
        catalogue_url(Kind::Http, url, template.map(Value::from).as_ref())
    }

    #[test]
    fn the_catalogue_has_no_queries_and_no_fragments() {
        for (url, listed) in [
            ("https://api.example.com/weather?city=Oslo&key=secret#now", "https://api.example.com/weather"),
            ("https://API.example.com:443", "https://api.example.com/"),
            ("http://127.0.0.1:4402/a/../b", "http://127.0.0.1:4402/b"),
            ("https://example.com/a b", "https://example.com/a%20b"),
        ] {
            assert_eq!(http(url, None).as_deref(), Ok(listed));
        }
    }

    #[test]
    fn a_template_takes_the_place_of_the_path() {
        let at = |template| http("https://api.example.com/users/123?x=1", Some(template));
        assert_eq!(at("/users/:id").as_deref(), Ok("https://api.example.com/users/:id"));
        assert_eq!(at("/v1.0/a-b_c~d/:e").as_deref(), Ok("https://api.example.com/v1.0/a-b_c~d/:e"));
        // Escapes of escapes are harmless where they hide nothing, and come to an end.
        for template in ["/a%20b/:c", "/a%25252520b/:c"] {
            assert_eq!(at(template), Ok(format!("https://api.example.com{template}")));
        }
        assert_eq!(at("/a%2525252520b/:c"), Err(Rejection::RouteTemplate));
    }

    #[test]
    fn a_template_leads_nowhere_else() {
        for template in [
            "",
            "/",
            "users/:id",
            "//evil.example/..",
            "/a/../b",
            "/%2e%2e/b",
            "/%252e%252e/b",
            "/%25252e%25252e/b",
            "/%2525252e%2525252e/b",
            // One deeper than anybody nests escapes.
            "/%25252525252e/b",
            "/http://evil.example",
            "/http%3a%2f%2fevil.example",
            "/http%253a%252f%252fevil.example",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%ff",
            "/a b",
            "/a?b",
            "/a#b",
            "/a@b",
            "/ä",
            "/a\\b",
        ] {
            assert_eq!(http("https://api.example.com/users/123", Some(template)), Err(Rejection::RouteTemplate), "{template}");
        }
        let number = Value::from(7);
        assert_eq!(catalogue_url(Kind::Http, "https://api.example.com/", Some(&number)), Err(Rejection::RouteTemplate));
    }

    #[test]
    fn only_a_public_kind_of_address_is_one() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        for url in [
            "",
            "/weather",
            "example.com/weather",
            "ftp://example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "mcp://tool/weather",
            "https://user:secret@example.com/",
            "https://user@example.com/",
            "https://",
            &long,
        ] {
            assert_eq!(http(url, None), Err(Rejection::Url), "{url:.60}");
        }
        assert_eq!(catalogue_url(Kind::Mcp, "mcp://tool/weather?x", None).as_deref(), Ok("mcp://tool/weather"));
        assert_eq!(catalogue_url(Kind::Mcp, "https://mcp.example.com/mcp", None).as_deref(), Ok("https://mcp.example.com/mcp"));
    }
}

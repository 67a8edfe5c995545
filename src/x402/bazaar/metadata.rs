//! What a resource says of itself for people. What is not as it should be is left out, and the rest is taken.

use std::collections::HashSet;

use serde_json::Value;
use url::{Host, Url};

/// Longest name of a service, and longest tag.
const NAME_CHARS_MAX: usize = 32;

/// Most tags.
const TAGS_MAX: usize = 5;

/// Longest address of an icon.
const ICON_URL_CHARS_MAX: usize = 2048;

/// Of a longer description the beginning is shown.
const DESCRIPTION_CHARS_MAX: usize = 1_000;

/// Longest media type.
const MIME_TYPE_CHARS_MAX: usize = 128;

/// Names that stand for the machine itself.
const LOOPBACK_NAMES: [&str; 4] = ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];

/// What is shown of a resource to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Metadata {
    pub description: Option<String>,
    pub mime_type: Option<String>,
    pub service_name: Option<String>,
    pub tags: Vec<String>,
    pub icon_url: Option<String>,
}

impl Metadata {
    /// Takes from the object of a resource what is as it should be.
    pub fn of(resource: &Value) -> Self {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        let some_text = |name: &str| text(name).filter(|text| !text.is_empty());
        Self {
            description: some_text("description").map(|text| text.chars().take(DESCRIPTION_CHARS_MAX).collect()),
            mime_type: text("mimeType").filter(|text| is_printable(text, MIME_TYPE_CHARS_MAX)).map(str::to_owned),
            service_name: text("serviceName").filter(|text| is_printable(text, NAME_CHARS_MAX)).map(str::to_owned),
            tags: tags(resource.get("tags")),
            icon_url: text("iconUrl").filter(|text| is_icon_url(text)).map(str::to_owned),
        }
    }
}

fn is_printable(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// The first tags that differ in more than their case.
fn tags(value: Option<&Value>) -> Vec<String> {
    let texts = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut seen = HashSet::new();
    let good = texts.filter(|text| is_printable(text, NAME_CHARS_MAX) && seen.insert(text.to_ascii_lowercase()));
    good.take(TAGS_MAX).map(str::to_owned).collect()
}

/// Whoever shows a catalogue fetches its icons, so they must not stand on machines that only it can reach. The URL is read as browsers
/// read it: other spellings of an IP address become one, and look-alikes of a name become the name.
fn is_icon_url(text: &str) -> bool {
    if text.chars().count() > ICON_URL_CHARS_MAX || text.bytes().any(|byte| byte.is_ascii_control()) {
        return false;
    }
    let Ok(url) = Url::parse(text) else { return false };
    let is_web = ["http", "https"].contains(&url.scheme()) && url.username().is_empty() && url.password().is_none();
    is_web && url.host().is_some_and(|host| matches!(host, Host::Domain(name) if is_public_name(name)))
}

fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    !name.is_empty() && !is_number && !LOOPBACK_NAMES.contains(&name) && !name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_is_short_and_printable() {
        let of = |name: Value| Metadata::of(&json!({"serviceName": name})).service_name;
        for name in ["a", "Weather of the world", &"x".repeat(32), " ~"] {
            assert_eq!(of(name.into()).as_deref(), Some(name));
        }
        for bad in
            [json!(""), json!("x".repeat(33)), json!("tab\t"), json!("Wetter für alle"), json!("\u{7f}"), json!(7), json!(null)]
        {
            assert_eq!(of(bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn the_first_five_different_tags_are_taken() {
        let of = |tags: Value| Metadata::of(&json!({"tags": tags})).tags;
        assert_eq!(of(json!(["Weather", "weather", "WEATHER", "", 7, "maps", "wörter", "x".repeat(33)])), ["Weather", "maps"]);
        assert_eq!(of(json!(["a", "b", "c", "d", "e", "f"])), ["a", "b", "c", "d", "e"]);
        for none in [json!("weather"), json!({}), json!(null), json!([])] {
            assert!(of(none).is_empty());
        }
    }

    #[test]
    fn an_icon_stands_where_everybody_can_reach_it() {
        let of = |url: &str| Metadata::of(&json!({"iconUrl": url})).icon_url;
        let longest = format!("https://example.com/{}", "a".repeat(2048 - 20));
        for url in ["https://example.com/icon.png", "http://cdn.example:8080/i?x=1#y", "https://münchen.example/i.svg", &longest]
        {
            assert_eq!(of(url).as_deref(), Some(url));
        }
        let longer = format!("{longest}a");
        for bad in [
            "",
            "icon.png",
            "/icon.png",
            "ftp://example.com/icon.png",
            "javascript:alert(1)",
            "data:image/png;base64,AAAA",
            "https://user@example.com/i.png",
            "https://user:secret@example.com/i.png",
            "http://127.0.0.1/i.png",
            "http://10.0.0.1/i.png",
            "http://93.184.216.34/i.png",
            "http://[::1]/i.png",
            "http://[::ffff:127.0.0.1]/i.png",
            "http://2130706433/i.png",
            "http://0x7f000001/i.png",
            "http://0x7f.1/i.png",
            "http://0177.0.0.1/i.png",
            "http://0/i.png",
            "http://127.1/i.png",
            "http://localhost/i.png",
            "http://LOCALHOST:8080/i.png",
            "http://localhost./i.png",
            "http://localhost.localdomain/i.png",
            "http://ip6-localhost/i.png",
            "http://ip6-loopback/i.png",
            "http://admin.localhost/i.png",
            // Full-width letters and digits.
            "http://ｌｏｃａｌｈｏｓｔ/i.png",
            "http://１２７.０.０.１/i.png",
            "http://%6cocalhost/i.png",
            "https://example.com/a\nb",
            &longer,
        ] {
            assert_eq!(of(bad), None, "{bad:.60}");
        }
    }

    #[test]
    fn a_long_description_is_cut_and_an_empty_one_left_out() {
        let of = |text: &str| Metadata::of(&json!({"description": text})).description;
        assert_eq!(of(&"é".repeat(2_000)), Some("é".repeat(1_000)));
        assert_eq!(of(""), None);
        let nothing = Metadata { description: None, mime_type: None, service_name: None, tags: Vec::new(), icon_url: None };
        for resource in [json!(null), json!({}), json!("https://example.com"), json!({"description": 7, "mimeType": "ü"})] {
            assert_eq!(Metadata::of(&resource), nothing);
        }
    }
}

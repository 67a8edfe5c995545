//! Tests of declarations as a whole.

use super::*;
use serde_json::json;

const DOCUMENT: &str = include_str!("../../../docs/DISCOVERY.md");

/// What a server declares with the SDK: `declareDiscoveryExtension` and its route's method and path.
fn extension() -> Value {
    json!({
        "info": {
            "input": {"type": "http", "method": "GET", "queryParams": {"city": "Oslo"}},
            "output": {"type": "json", "example": {"degrees": 7}},
        },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "input": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "const": "http"},
                        "method": {"type": "string", "enum": ["GET"]},
                        "queryParams": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
                        "pathParams": {"type": "object"},
                    },
                    "required": ["type", "method"],
                    "additionalProperties": false,
                },
                "output": {"type": "object", "properties": {"type": {"type": "string"}, "example": {"type": "object"}}},
            },
            "required": ["input"],
        },
    })
}

fn body(extension: &Value) -> Value {
    let body = include_str!("../../../tests/vectors/x402/exact-eip3009-v2.json");
    let mut body: Value = serde_json::from_str(body).unwrap();
    body["paymentPayload"]["resource"] = json!({
        "url": "https://api.example.com/weather?city=Oslo", "description": "The weather", "mimeType": "application/json",
        "serviceName": "Weather", "tags": ["weather", "maps"], "iconUrl": "https://example.com/i.png",
    });
    body["paymentPayload"]["extensions"] = json!({EXTENSION: extension, "payment-identifier": {"info": {}}});
    body
}

fn declared(body: &Value) -> Option<Declaration> {
    crate::x402::request::parse_request(body.to_string().as_bytes()).unwrap().declaration
}

fn read(extension: &Value) -> Result<Resource, Rejection> {
    declared(&body(extension)).expect("it is there").read()
}

/// The same extension with another value at a place.
fn with(pointer: &str, value: Value) -> Value {
    let mut extension = extension();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    extension.pointer_mut(parent).unwrap()[name] = value;
    extension
}

#[test]
fn what_a_server_declares_is_what_the_catalogue_has() {
    let body = body(&extension());
    let resource = declared(&body).unwrap().read().unwrap();

    assert_eq!((resource.version, resource.kind), (Version::V2, Kind::Http));
    assert_eq!((resource.url.as_str(), resource.operation.as_str()), ("https://api.example.com/weather", "GET"));
    assert_eq!(resource.description.as_deref(), Some("The weather"));
    assert_eq!((resource.mime_type.as_deref(), resource.service_name.as_deref()), (Some("application/json"), Some("Weather")));
    assert_eq!(
        (resource.tags, resource.icon_url.as_deref()),
        (vec!["weather".to_owned(), "maps".to_owned()], Some("https://example.com/i.png"))
    );
    assert_eq!(resource.bazaar, extension(), "and no other extension");
    assert_eq!(resource.requirements, body["paymentRequirements"]);
    assert_eq!((resource.terms.scheme.as_str(), resource.terms.network.as_str()), ("exact", "eip155:84532"));
    assert_eq!(resource.terms.pay_to.to_string(), "0x209693Bc6afc0C5328bA36FaF03C514EF312287C");
}

#[test]
fn a_request_without_a_declaration_has_none() {
    for extensions in [json!(null), json!({}), json!({"bazaar": null}), json!([])] {
        let mut body = body(&extension());
        body["paymentPayload"]["extensions"] = extensions;
        assert_eq!(declared(&body), None);
    }
}

#[test]
fn what_one_buyer_used_is_not_the_price() {
    let mut body = body(&extension());
    for (object, amount) in [("paymentRequirements", "37"), ("paymentPayload/accepted", "10000")] {
        let terms = body.pointer_mut(&format!("/{object}")).unwrap();
        (terms["scheme"], terms["amount"]) = ("upto".into(), amount.into());
    }
    let requirements = |body: &Value| declared(body).unwrap().read().unwrap().requirements;
    assert_eq!(requirements(&body)["amount"], "10000", "what was asked for at most");

    for nonsense in [json!("much"), json!("-1"), json!(5), json!(null)] {
        body["paymentPayload"]["accepted"]["amount"] = nonsense;
        assert_eq!(requirements(&body)["amount"], "37");
    }
    body["paymentRequirements"]["amount"] = "0".into();
    assert_eq!(declared(&body), None, "nothing was paid");
}

#[test]
fn an_exact_price_is_what_was_paid_whatever_the_buyer_repeats() {
    let mut body = body(&extension());
    let paid = body["paymentRequirements"].clone();
    body["paymentPayload"]["accepted"]["amount"] = "1".into();

    assert_eq!(declared(&body).unwrap().read().unwrap().requirements, paid);
}

#[test]
fn what_is_about_one_payment_is_not_published() {
    let mut with_route = with("/info/input/pathParams", json!({"user": "alice"}));
    with_route["routeTemplate"] = "/users/:user".into();
    let mut body = body(&with_route);
    for name in ["invoice", "memo", "recentBlockhash", "lastValidBlockHeight", "recentSlot"] {
        body["paymentRequirements"]["extra"][name] = "of this payment".into();
    }
    body["paymentRequirements"]["hint"] = "of this payment".into();

    let resource = declared(&body).unwrap().read().unwrap();

    assert_eq!(resource.url, "https://api.example.com/users/:user");
    assert_eq!(resource.bazaar["info"]["input"].get("pathParams"), None);
    assert_eq!(resource.bazaar["routeTemplate"], "/users/:user");
    assert_eq!(resource.requirements.get("hint"), None);
    assert_eq!(resource.requirements["extra"], json!({"name": "USDC", "version": "2"}));
}

#[test]
fn the_input_is_of_a_kind_that_exists() {
    for input in [json!(null), json!([]), json!("http"), json!({}), json!({"type": "ftp"}), json!({"type": 7})] {
        assert_eq!(read(&with("/info/input", input.clone())), Err(Rejection::Input), "{input}");
    }
    for extension in [json!(7), json!([]), json!({}), json!({"info": null}), json!({"info": []})] {
        assert_eq!(read(&extension), Err(Rejection::Input), "{extension}");
    }
}

#[test]
fn a_body_goes_with_the_methods_that_take_one() {
    let read = |input: Value| {
        let extension = json!({"info": {"input": input}, "schema": true});
        read(&extension).map(|resource| resource.operation)
    };
    for method in ["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"] {
        assert_eq!(read(json!({"type": "http", "method": method})).as_deref(), Ok(method));
        let takes_body = ["POST", "PUT", "PATCH"].contains(&method);
        for body_type in ["json", "form-data", "text"] {
            let input = json!({"type": "http", "method": method, "bodyType": body_type, "body": {}});
            assert_eq!(read(input).err(), (!takes_body).then_some(Rejection::BodyType), "{method} {body_type}");
        }
    }
    for method in [json!("get"), json!("OPTIONS"), json!(""), json!(7)] {
        assert_eq!(read(json!({"type": "http", "method": method})), Err(Rejection::Method), "{method}");
    }
    for body_type in [json!("xml"), json!(""), json!(7)] {
        assert_eq!(read(json!({"type": "http", "method": "POST", "bodyType": body_type})), Err(Rejection::BodyType));
    }
    assert_eq!(read(json!({"type": "http"})).as_deref(), Ok(""), "the method may be missing");
}

#[test]
fn a_tool_has_a_name_and_a_schema() {
    let tool = |changes: Value| {
        let mut input = json!({"type": "mcp", "toolName": "weather", "inputSchema": {"type": "object"}});
        input.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        read(&json!({"info": {"input": input}, "schema": true}))
    };
    for fine in [json!({}), json!({"transport": "sse"}), json!({"transport": "streamable-http"}), json!({"transport": null})] {
        let resource = tool(fine).unwrap();
        assert_eq!((resource.kind, resource.operation.as_str()), (Kind::Mcp, "weather"));
    }
    for wrong in [
        json!({"toolName": ""}),
        json!({"toolName": null}),
        json!({"toolName": "x".repeat(129)}),
        json!({"inputSchema": null}),
        json!({"inputSchema": true}),
        json!({"transport": "stdio"}),
        json!({"transport": 7}),
    ] {
        assert_eq!(tool(wrong.clone()), Err(Rejection::Tool), "{wrong}");
    }
}

#[test]
fn info_fits_its_schema() {
    for (pointer, value, fault) in [
        ("/info/input/queryParams", json!({"city": 7}), SchemaFault::Mismatch),
        ("/info/input/extra", json!("not declared"), SchemaFault::Mismatch),
        ("/info/output", json!("sunny"), SchemaFault::Mismatch),
        ("/schema", json!(null), SchemaFault::Keyword("a part")),
        ("/schema", json!({"$ref": "http://127.0.0.1/schema"}), SchemaFault::External),
        ("/schema/$id", json!("https://example.com/schema"), SchemaFault::External),
        ("/schema", json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}), SchemaFault::Costly),
    ] {
        assert_eq!(read(&with(pointer, value)), Err(Rejection::Schema(fault)), "{pointer}");
    }
    let mut without = extension();
    without.as_object_mut().unwrap().remove("schema");
    assert_eq!(read(&without), Err(Rejection::Schema(SchemaFault::Keyword("a part"))));
}

#[test]
fn a_declaration_is_not_endless() {
    let with_example = |bytes: usize| with("/info/output", json!({"type": "json", "example": {"text": "x".repeat(bytes)}}));
    assert!(read(&with_example(14_000)).is_ok());
    assert_eq!(read(&with_example(16_500)), Err(Rejection::TooLarge));
    let mut body = body(&extension());
    body["paymentRequirements"]["extra"]["more"] = "x".repeat(4_100).into();
    assert_eq!(declared(&body).unwrap().read(), Err(Rejection::TooLarge));
}

#[test]
fn a_resource_has_an_address() {
    for (resource, rejection) in [
        (json!(null), Rejection::Url),
        (json!({"description": "somewhere"}), Rejection::Url),
        (json!({"url": "mcp://tool/weather"}), Rejection::Url),
    ] {
        let mut body = body(&extension());
        body["paymentPayload"]["resource"] = resource;
        assert_eq!(declared(&body).unwrap().read(), Err(rejection));
    }
    assert_eq!(read(&with("/routeTemplate", "/a/%252e%252e/b".into())), Err(Rejection::RouteTemplate));
}

#[test]
fn version_1_declares_in_its_requirements() {
    let body = include_str!("../../../tests/vectors/x402/exact-eip3009-v1.json");
    let mut body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(declared(&body), None);
    let requirements = &mut body["paymentRequirements"];
    requirements["resource"] = "https://api.example.com/weather?city=Oslo".into();
    requirements["description"] = "The weather".into();
    requirements["outputSchema"] =
        json!({"input": {"type": "http", "method": "GET", "queryParams": {"city": "string"}}, "output": {"degrees": "number"}});

    let resource = declared(&body).unwrap().read().unwrap();

    assert_eq!((resource.version, resource.url.as_str()), (Version::V1, "https://api.example.com/weather"));
    assert_eq!((resource.operation.as_str(), resource.description.as_deref()), ("GET", Some("The weather")));
    assert_eq!(resource.bazaar["info"]["input"], json!({"type": "http", "method": "GET", "queryParams": {"city": "string"}}));
    assert_eq!(resource.bazaar["info"]["output"]["example"], json!({"degrees": "number"}));
    assert_eq!(resource.requirements["resource"], "https://api.example.com/weather");
    assert_eq!(resource.requirements["network"], body["paymentRequirements"]["network"], "in the words of version 1");
    assert_eq!(resource.requirements.get("outputSchema"), None, "it stands in the extension");

    body["paymentRequirements"]["outputSchema"]["input"]["method"] = "BREW".into();
    assert_eq!(declared(&body).unwrap().read(), Err(Rejection::Method));
    body["paymentRequirements"]["outputSchema"]["input"]["discoverable"] = false.into();
    assert_eq!(declared(&body), None);
}

#[test]
fn two_that_show_the_same_have_the_same_digest() {
    let digest = |extension: &Value| read(extension).unwrap().digest();
    let visitor = with("/info/input/pathParams", json!({"user": "bob"}));
    assert_eq!(digest(&visitor), digest(&extension()), "whoever pays");
    assert_ne!(digest(&with("/info/input/queryParams", json!({"city": "Bergen"}))), digest(&extension()));

    let shown = read(&extension()).unwrap();
    let other = || Some("another".to_owned());
    for changed in [
        Resource { description: other(), ..shown.clone() },
        Resource { mime_type: other(), ..shown.clone() },
        Resource { service_name: other(), ..shown.clone() },
        Resource { tags: Vec::new(), ..shown.clone() },
        Resource { icon_url: None, ..shown.clone() },
        Resource { requirements: json!({"amount": "1"}), ..shown.clone() },
    ] {
        assert_ne!(changed.digest(), shown.digest(), "{changed:?}");
    }
}

#[test]
fn a_transfer_that_was_made_without_us_lists_nothing() {
    let body = body(&extension());
    let request = crate::x402::request::parse_request(body.to_string().as_bytes()).unwrap().request;
    let of = |scheme: &str| {
        let request = PaymentRequest { scheme: scheme.to_owned(), ..request.clone() };
        Declaration::find(&body["paymentPayload"], &body["paymentRequirements"], &request)
    };

    assert!(of("exact").is_some());
    assert_eq!(of(SCHEME_TRANSFER), None);
}

#[test]
fn the_document_lists_every_rejection() {
    let keyword = SchemaFault::Keyword("type");
    let schema = [SchemaFault::External, keyword, SchemaFault::Costly, SchemaFault::Mismatch].map(Rejection::Schema);
    let others = [
        Rejection::TooLarge,
        Rejection::Url,
        Rejection::Input,
        Rejection::Method,
        Rejection::BodyType,
        Rejection::Tool,
        Rejection::RouteTemplate,
    ];
    for rejection in others.iter().chain(&schema) {
        assert!(DOCUMENT.contains(&format!("| `{}` |", rejection.code())), "{}", rejection.code());
    }
}

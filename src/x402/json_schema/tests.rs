//! Tests of the judge: the keywords, and schemas that are meant to cost.

use super::*;
use serde_json::json;

fn judged(schema: &Value, value: &Value) -> Result<bool, SchemaFault> {
    match validate(schema, value) {
        Ok(()) => Ok(true),
        Err(SchemaFault::Mismatch) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Each keyword with values that fit and values that do not.
fn keywords() -> Vec<(Value, Vec<Value>, Vec<Value>)> {
    vec![
        (json!({}), vec![json!(null), json!({"a": 1})], vec![]),
        (json!(true), vec![json!(1)], vec![]),
        (json!(false), vec![], vec![json!(1)]),
        (json!({"type": "integer"}), vec![json!(1), json!(1.0), json!(-3)], vec![json!(1.5), json!("1"), json!(null)]),
        (json!({"type": "number"}), vec![json!(1), json!(1.5)], vec![json!("1")]),
        (json!({"type": ["string", "null"]}), vec![json!("a"), json!(null)], vec![json!(1), json!([])]),
        (json!({"type": "object"}), vec![json!({})], vec![json!([]), json!(null)]),
        (json!({"type": "boolean"}), vec![json!(false)], vec![json!(0)]),
        (json!({"const": 1}), vec![json!(1), json!(1.0)], vec![json!(2), json!(true)]),
        (json!({"const": {"a": [1]}}), vec![json!({"a": [1.0]})], vec![json!({"a": [1, 1]}), json!({"a": [1], "b": 1})]),
        (json!({"const": 9_007_199_254_740_993_u64}), vec![], vec![json!(9_007_199_254_740_992_u64)]),
        (json!({"enum": ["GET", "HEAD"]}), vec![json!("GET")], vec![json!("POST"), json!(null)]),
        (json!({"minimum": 1, "maximum": 2}), vec![json!(1), json!(2), json!("x")], vec![json!(0.9), json!(2.1)]),
        (json!({"exclusiveMinimum": 1, "exclusiveMaximum": 2}), vec![json!(1.5)], vec![json!(1), json!(2)]),
        (json!({"multipleOf": 0.01}), vec![json!(4.35), json!(0), json!(75)], vec![json!(0.005)]),
        (json!({"minLength": 2, "maxLength": 3}), vec![json!("éé"), json!("éée")], vec![json!("é"), json!("éééé")]),
        (json!({"pattern": "^a+$"}), vec![json!("aaa"), json!(1)], vec![json!("ab"), json!("")]),
        // Letters and digits are those of ASCII, in classes and outside.
        (json!({"pattern": "^\\w\\d$"}), vec![json!("a1"), json!("_0")], vec![json!("é1"), json!("a٣"), json!("-1")]),
        (json!({"pattern": "^\\W\\D$"}), vec![json!("é٣")], vec![json!("aa"), json!("-1")]),
        (json!({"pattern": "^[\\w.-]{1,64}$"}), vec![json!("a.b-c")], vec![json!(""), json!("a b"), json!("a".repeat(65))]),
        (json!({"pattern": "^\\\\w\\($"}), vec![json!("\\w(")], vec![json!("\\a(")]),
        (json!({"pattern": "^(?:\\p{L}|(?<mark>!))+$"}), vec![json!("où!")], vec![json!("1")]),
        (json!({"items": {"type": "string"}}), vec![json!([]), json!(["a"])], vec![json!(["a", 1])]),
        (
            json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}),
            vec![json!(["a", 1]), json!([])],
            vec![json!([1]), json!(["a", "b"])],
        ),
        (json!({"minItems": 1, "maxItems": 2}), vec![json!([1])], vec![json!([]), json!([1, 2, 3])]),
        (json!({"uniqueItems": true}), vec![json!([1, "1", true])], vec![json!([1, 1.0]), json!([{"a": 1}, {"a": 1}])]),
        (json!({"contains": {"const": 5}}), vec![json!([5, 1])], vec![json!([1]), json!([])]),
        (json!({"contains": {"const": 5}, "minContains": 0, "maxContains": 1.0}), vec![json!([])], vec![json!([5, 5])]),
        (json!({"required": ["a"]}), vec![json!({"a": null}), json!([])], vec![json!({"b": 1})]),
        (
            json!({"properties": {"a": {"type": "string"}}, "additionalProperties": false}),
            vec![json!({}), json!({"a": "x"})],
            vec![json!({"a": 1}), json!({"a": "x", "b": 1})],
        ),
        (
            json!({"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": {"type": "integer"}}),
            vec![json!({"x-a": "b", "c": 1})],
            vec![json!({"x-a": 1}), json!({"c": "d"})],
        ),
        (json!({"propertyNames": {"maxLength": 2}}), vec![json!({"ab": 1})], vec![json!({"abc": 1})]),
        (json!({"minProperties": 1, "maxProperties": 1}), vec![json!({"a": 1})], vec![json!({}), json!({"a": 1, "b": 1})]),
        (json!({"dependentRequired": {"a": ["b"]}}), vec![json!({"a": 1, "b": 1}), json!({"c": 1})], vec![json!({"a": 1})]),
        (
            json!({"dependentSchemas": {"a": {"required": ["b"]}}}),
            vec![json!({"a": 1, "b": 1}), json!({})],
            vec![json!({"a": 1})],
        ),
        (json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), vec![json!(1)], vec![json!(3)]),
        (json!({"anyOf": [{"type": "string"}, {"minimum": 2}]}), vec![json!("a"), json!(2)], vec![json!(1)]),
        (json!({"oneOf": [{"minimum": 1}, {"minimum": 3}]}), vec![json!(2)], vec![json!(0), json!(3)]),
        (json!({"not": {"type": "string"}}), vec![json!(1)], vec![json!("a")]),
        (
            json!({"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"minimum": 5}}),
            vec![json!("ab"), json!(5)],
            vec![json!("a"), json!(4)],
        ),
        (json!({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "string"}}}), vec![json!("x")], vec![json!(1)]),
        (json!({"format": "email", "title": "mail", "x-anything": 1}), vec![json!("no mail")], vec![]),
        (
            json!({"type": "object", "properties": {"children": {"items": {"$ref": "#"}}}, "additionalProperties": false}),
            vec![json!({"children": [{"children": []}]})],
            vec![json!({"children": [{"child": []}]})],
        ),
    ]
}

#[test]
fn each_keyword_lets_pass_what_fits_and_nothing_else() {
    for (schema, fitting, others) in keywords() {
        for value in fitting {
            assert_eq!(judged(&schema, &value), Ok(true), "{value} fits {schema}");
        }
        for value in others {
            assert_eq!(judged(&schema, &value), Ok(false), "{value} does not fit {schema}");
        }
    }
}

#[test]
fn nothing_outside_the_document_is_referred_to() {
    for schema in [
        json!({"$ref": "https://example.com/schema"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$ref": "other.json#/a"}),
        json!({"$id": "https://example.com/"}),
        json!({"$ref": 7}),
        json!({"properties": {"a": {"anyOf": [true, {"$ref": "//example.com"}]}}}),
        json!({"$defs": {"never used": {"$id": "urn:x"}}}),
    ] {
        assert_eq!(judged(&schema, &json!({})), Err(SchemaFault::External), "{schema}");
    }
}

#[test]
fn what_cannot_be_judged_is_a_fault_and_no_verdict() {
    for (schema, keyword) in [
        (json!({"$ref": "#/$defs/missing"}), "$ref"),
        (json!({"$ref": "#name"}), "$ref"),
        (json!({"$ref": "#/%2"}), "$ref"),
        (json!({"type": "text"}), "type"),
        (json!({"type": 1}), "type"),
        (json!({"enum": "a"}), "enum"),
        (json!({"required": [1]}), "required"),
        (json!({"properties": []}), "properties"),
        (json!({"properties": {"a": 1}}), "a part"),
        (json!({"minProperties": "1"}), "minProperties"),
        (json!({"properties": {"a": {"const": "b"}, "c": {"uniqueItems": 1}}}), "uniqueItems"),
        (json!({"unevaluatedProperties": false}), "unevaluatedProperties"),
        (json!({"patternProperties": {"(": true}}), "patternProperties"),
        // Patterns that need backtracking.
        (json!({"properties": {"a": {"pattern": "^(?=a)"}}}), "pattern"),
        (json!({"properties": {"a": {"pattern": "(\\w{100}){100}"}}}), "pattern"),
        // Flags, which patterns of JSON Schema do not have.
        (json!({"properties": {"a": {"pattern": "(?i)B"}}}), "pattern"),
        (json!({"properties": {"a": {"pattern": "(?s-i:B)"}}}), "pattern"),
        (json!({"properties": {"a": {"pattern": "b\\"}}}), "pattern"),
    ] {
        assert_eq!(judged(&schema, &json!({"a": "b", "c": []})), Err(SchemaFault::Keyword(keyword)), "{schema}");
    }
}

#[test]
fn a_schema_that_is_meant_to_cost_is_stopped() {
    let doubling: Map<_, _> = (0..40)
        .map(|level| {
            let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
            (level.to_string(), json!({"allOf": [next, next]}))
        })
        .chain([("40".to_owned(), json!(true))])
        .collect();
    let chain: Map<_, _> = (0..500).map(|level| (level.to_string(), json!({"$ref": format!("#/$defs/{}", level + 1)}))).collect();
    let patterns: Vec<_> = (0..200).map(|number| json!({"pattern": format!("^.*{number}")})).collect();
    let many: Vec<_> = (0..2_000).collect();
    let long = "a".repeat(4_000);
    let far = json!({"$ref": format!("#/$defs/{long}")});
    for (number, (schema, value)) in [
        (json!({"$ref": "#"}), json!(1)),
        (json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}), json!(1)),
        (json!({"anyOf": [{"not": {"$ref": "#/anyOf/0"}}]}), json!(1)),
        (json!({"$defs": doubling, "$ref": "#/$defs/0"}), json!(1)),
        (json!({"$defs": chain, "$ref": "#/$defs/0"}), json!(1)),
        (json!({"anyOf": patterns}), json!("a")),
        (json!({"uniqueItems": true}), json!(many)),
        (json!({"items": {"not": {"enum": many}}}), json!(vec![-1; 2_000])),
        // Texts that meet many states of a pattern, and patterns that are much to read.
        (
            json!({"$defs": {"slow": {"pattern": "[ab]*a[ab]{100}c"}}, "allOf": vec![json!({"$ref": "#/$defs/slow"}); 9]}),
            json!("ab".repeat(2_000)),
        ),
        (json!({"pattern": "\\p{L}".repeat(200)}), json!("a")),
        (json!({"pattern": "\\P{L}".repeat(200)}), json!("a")),
        (json!({"pattern": "a|".repeat(6_000)}), json!("a")),
        // What is passed over costs, too, and so does looking for what is far away.
        (json!({"allOf": vec![json!({}); 30]}), json!(many)),
        (json!({"allOf": vec![far; 300], "$defs": {long: true}}), json!(1)),
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(judged(schema, value), Err(SchemaFault::Costly), "schema {number}");
    }
}

//! Whether a JSON value fits a JSON Schema (draft 2020-12) that a stranger wrote.
//!
//! A schema is a program: a few references to itself double the work with each level, and a reference to an address makes the careless
//! fetch it. So every step is paid for out of a fixed budget, nothing outside the document is ever looked at, and patterns are matched in
//! linear time. A keyword that cannot be judged is a fault and never passed over in silence; formats are annotations, as the draft has
//! them by default.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::percent;

/// Steps that a judgement may take: looks at a value with a schema, comparisons, and what patterns cost. Declarations take some hundred.
const STEPS_MAX: u32 = 50_000;

/// Deepest nesting of schemas, references included.
const DEPTH_MAX: u32 = 64;

/// What it costs to read a pattern, in steps, and how much more for each of its bytes and each of its classes of Unicode.
const PATTERN_STEPS: usize = 2_000;
const PATTERN_STEPS_A_BYTE: usize = 4;
const PATTERN_STEPS_A_CLASS: usize = 500;

/// What the program of a pattern may take up, in bytes. The least that it fits in says what a text costs: each of its bytes may meet every
/// state of the program. Classes of Unicode letters take some ten thousand.
const PROGRAM_BYTES: [usize; 4] = [2 << 10, 8 << 10, 32 << 10, 128 << 10];

/// So much of a program meets a byte in one step.
const PROGRAM_BYTES_A_STEP: usize = 512;

/// Keywords that would change the verdict, and that this judge does not know.
const UNSUPPORTED: [&str; 5] = ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems"];

/// Why a value was not found to fit its schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaFault {
    /// The schema refers to something outside itself.
    #[error("the schema refers to something outside itself")]
    External,
    /// A keyword has a value that it cannot have, or is not supported.
    #[error("{0} of the schema is malformed or not supported")]
    Keyword(&'static str),
    /// To judge it takes too many steps, or is nested too deeply.
    #[error("the schema takes too much to judge")]
    Costly,
    /// The value does not fit.
    #[error("the value does not fit the schema")]
    Mismatch,
}

/// Judges whether `value` fits `schema`.
///
/// # Errors
/// It does not, or that cannot be said: see [`SchemaFault`].
pub fn validate(schema: &Value, value: &Value) -> Result<(), SchemaFault> {
    if refers_outside(schema) {
        return Err(SchemaFault::External);
    }
    let mut judge = Judge { root: schema, steps_left: STEPS_MAX, patterns: HashMap::new() };
    if judge.fits(schema, value, 0)? { Ok(()) } else { Err(SchemaFault::Mismatch) }
}

/// Whether a `$ref` or `$id` anywhere in it is anything but a fragment. Names of properties that look like one count, too, as in the
/// reference implementations.
fn refers_outside(node: &Value) -> bool {
    match node {
        Value::Array(items) => items.iter().any(refers_outside),
        Value::Object(members) => members.iter().any(|(name, value)| {
            let refers = ["$ref", "$id"].contains(&name.as_str());
            (refers && !value.as_str().is_some_and(|text| text.starts_with('#'))) || refers_outside(value)
        }),
        _ => false,
    }
}

/// A judgement under way. Its answers are "fits" and "does not fit"; a fault ends it.
struct Judge<'a> {
    root: &'a Value,
    steps_left: u32,
    patterns: HashMap<&'a str, Pattern>,
}

/// A pattern that was read.
struct Pattern {
    program: Regex,
    steps_a_byte: usize,
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        let text = in_our_words(text)?;
        PROGRAM_BYTES.into_iter().find_map(|bytes| {
            let program = RegexBuilder::new(&text).size_limit(bytes).dfa_size_limit(bytes).build().ok()?;
            Some(Self { program, steps_a_byte: bytes / PROGRAM_BYTES_A_STEP })
        })
    }
}

/// A pattern of ECMA-262 as the library reads it. There digits and letters of words are those of ASCII, and nothing sets flags, of which one
/// makes a class of Unicode very costly to read.
fn in_our_words(pattern: &str) -> Option<String> {
    let (mut words, mut rest) = (String::with_capacity(pattern.len()), pattern);
    while let Some(letter) = rest.chars().next() {
        let behind = &rest[letter.len_utf8()..];
        if letter == '(' && behind.starts_with('?') && !behind.starts_with("?:") && !behind.starts_with("?<") {
            return None;
        }
        let escaped = behind.chars().next().filter(|_| letter == '\\');
        let class = match escaped {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('w') => "[0-9A-Za-z_]",
            Some('W') => "[^0-9A-Za-z_]",
            _ => &rest[..letter.len_utf8() + escaped.map_or(0, char::len_utf8)],
        };
        words.push_str(class);
        rest = &behind[escaped.map_or(0, char::len_utf8)..];
    }
    Some(words)
}

type Verdict = Result<bool, SchemaFault>;

impl<'a> Judge<'a> {
    fn spend(&mut self, steps: usize) -> Result<(), SchemaFault> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(SchemaFault::Costly)?;
        Ok(())
    }

    fn fits(&mut self, schema: &'a Value, value: &Value, depth: u32) -> Verdict {
        self.spend(1)?;
        if depth > DEPTH_MAX {
            return Err(SchemaFault::Costly);
        }
        match schema {
            Value::Bool(fits) => Ok(*fits),
            Value::Object(keywords) => self.fits_keywords(&Keywords(keywords), value, depth + 1),
            _ => Err(SchemaFault::Keyword("a part")),
        }
    }

    fn fits_keywords(&mut self, keywords: &Keywords<'a>, value: &Value, depth: u32) -> Verdict {
        if let Some(unsupported) = UNSUPPORTED.into_iter().find(|name| keywords.0.contains_key(*name)) {
            return Err(SchemaFault::Keyword(unsupported));
        }
        let fits = self.fits_reference(keywords, value, depth)?
            && self.fits_type(keywords, value)?
            && self.fits_values(keywords, value)?
            && match value {
                Value::Number(_) => fits_number(keywords, value)?,
                Value::String(text) => self.fits_text(keywords, text)?,
                Value::Array(items) => self.fits_array(keywords, items, depth)?,
                Value::Object(members) => self.fits_object(keywords, value, members, depth)?,
                Value::Null | Value::Bool(_) => true,
            };
        Ok(fits && self.fits_combination(keywords, value, depth)?)
    }

    fn fits_reference(&mut self, keywords: &Keywords<'a>, value: &Value, depth: u32) -> Verdict {
        const NAME: &str = "$ref";
        let Some(reference) = keywords.text(NAME)? else { return Ok(true) };
        self.spend(reference.len() / 16)?;
        let pointer = reference.strip_prefix('#').and_then(percent::decode);
        let target = pointer.and_then(|pointer| self.root.pointer(&pointer));
        self.fits(target.ok_or(SchemaFault::Keyword(NAME))?, value, depth)
    }

    fn fits_type(&mut self, keywords: &Keywords<'a>, value: &Value) -> Verdict {
        const NAME: &str = "type";
        let names = match keywords.0.get(NAME) {
            None => return Ok(true),
            Some(Value::Array(names)) => names.as_slice(),
            Some(name) => std::slice::from_ref(name),
        };
        self.spend(names.len())?;
        let is = |name: &Value| is_of_type(name.as_str()?, value);
        names.iter().try_fold(false, |fits, name| Some(is(name)? || fits)).ok_or(SchemaFault::Keyword(NAME))
    }

    fn fits_values(&mut self, keywords: &Keywords<'a>, value: &Value) -> Verdict {
        if let Some(only) = keywords.0.get("const")
            && !self.equal(only, value)?
        {
            return Ok(false);
        }
        let Some(values) = keywords.array("enum")? else { return Ok(true) };
        for one in values {
            if self.equal(one, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Numbers are equal by their value, however they are written.
    fn equal(&mut self, one: &Value, other: &Value) -> Verdict {
        self.spend(1)?;
        match (one, other) {
            (Value::Number(one), Value::Number(other)) => {
                Ok(one == other || one.as_f64() == other.as_f64() && !is_whole_pair(one, other))
            }
            (Value::String(one), Value::String(other)) => {
                self.spend(one.len().min(other.len()) / 64)?;
                Ok(one == other)
            }
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
                for (one, other) in one.iter().zip(other) {
                    if !self.equal(one, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Object(one), Value::Object(other)) if one.len() == other.len() => {
                for (name, one) in one {
                    let Some(other) = other.get(name) else { return Ok(false) };
                    if !self.equal(one, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (one, other) => Ok(one == other),
        }
    }

    fn fits_text(&mut self, keywords: &Keywords<'a>, text: &str) -> Verdict {
        self.spend(text.len() / 64)?;
        let length = text.chars().count() as u64;
        if !keywords.within("minLength", "maxLength", length)? {
            return Ok(false);
        }
        match keywords.text("pattern")? {
            Some(pattern) => self.matches("pattern", pattern, text),
            None => Ok(true),
        }
    }

    fn matches(&mut self, keyword: &'static str, pattern: &'a str, text: &str) -> Verdict {
        self.spend(1 + pattern.len() / 16)?;
        if !self.patterns.contains_key(pattern) {
            let classes = pattern.matches("\\p").count() + pattern.matches("\\P").count();
            self.spend(PATTERN_STEPS + PATTERN_STEPS_A_BYTE * pattern.len() + PATTERN_STEPS_A_CLASS * classes)?;
            self.patterns.insert(pattern, Pattern::read(pattern).ok_or(SchemaFault::Keyword(keyword))?);
        }
        let Some(Pattern { program, steps_a_byte }) = self.patterns.get(pattern) else { return Ok(false) };
        let (program, steps) = (program.clone(), text.len().saturating_mul(*steps_a_byte));
        self.spend(steps)?;
        Ok(program.is_match(text))
    }

    fn fits_array(&mut self, keywords: &Keywords<'a>, items: &[Value], depth: u32) -> Verdict {
        if !keywords.within("minItems", "maxItems", items.len() as u64)? {
            return Ok(false);
        }
        self.spend(items.len())?;
        let first = keywords.array("prefixItems")?.unwrap_or_default();
        let rest = keywords.0.get("items");
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).or(rest)
                && !self.fits(schema, item, depth)?
            {
                return Ok(false);
            }
        }
        Ok(self.fits_contains(keywords, items, depth)? && self.fits_uniqueness(keywords, items)?)
    }

    fn fits_contains(&mut self, keywords: &Keywords<'a>, items: &[Value], depth: u32) -> Verdict {
        let Some(schema) = keywords.0.get("contains") else { return Ok(true) };
        let mut found = 0;
        for item in items {
            found += u64::from(self.fits(schema, item, depth)?);
        }
        let least = keywords.count("minContains")?.unwrap_or(1);
        Ok(found >= least && keywords.count("maxContains")?.is_none_or(|most| found <= most))
    }

    fn fits_uniqueness(&mut self, keywords: &Keywords<'a>, items: &[Value]) -> Verdict {
        if keywords.read("uniqueItems", Value::as_bool)? != Some(true) {
            return Ok(true);
        }
        for (index, one) in items.iter().enumerate() {
            for other in &items[..index] {
                if self.equal(one, other)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn fits_object(&mut self, keywords: &Keywords<'a>, whole: &Value, members: &Map<String, Value>, depth: u32) -> Verdict {
        if !keywords.within("minProperties", "maxProperties", members.len() as u64)?
            || !self.has_all(keywords.array("required")?, "required", members)?
        {
            return Ok(false);
        }
        let (known, patterns) = (keywords.object("properties")?, keywords.object("patternProperties")?);
        for (name, value) in members {
            self.spend(1 + name.len() / 64)?;
            let mut schemas: Vec<_> = known.and_then(|known| known.get(name)).into_iter().collect();
            for (pattern, schema) in patterns.into_iter().flatten() {
                if self.matches("patternProperties", pattern, name)? {
                    schemas.push(schema);
                }
            }
            if schemas.is_empty() {
                schemas.extend(keywords.0.get("additionalProperties"));
            }
            for schema in schemas {
                if !self.fits(schema, value, depth)? {
                    return Ok(false);
                }
            }
            if let Some(schema) = keywords.0.get("propertyNames")
                && !self.fits(schema, &Value::String(name.clone()), depth)?
            {
                return Ok(false);
            }
        }
        self.fits_dependencies(keywords, whole, members, depth)
    }

    fn has_all(&mut self, names: Option<&'a [Value]>, keyword: &'static str, members: &Map<String, Value>) -> Verdict {
        let names = names.unwrap_or_default();
        self.spend(names.len())?;
        let has = |name: &Value| name.as_str().map(|name| members.contains_key(name));
        names.iter().try_fold(true, |all, name| Some(has(name)? && all)).ok_or(SchemaFault::Keyword(keyword))
    }

    fn fits_dependencies(&mut self, keywords: &Keywords<'a>, whole: &Value, members: &Map<String, Value>, depth: u32) -> Verdict {
        const REQUIRED: &str = "dependentRequired";
        for (name, needed) in keywords.object(REQUIRED)?.into_iter().flatten() {
            self.spend(1)?;
            let needed = needed.as_array().ok_or(SchemaFault::Keyword(REQUIRED))?;
            if members.contains_key(name) && !self.has_all(Some(needed), REQUIRED, members)? {
                return Ok(false);
            }
        }
        for (name, schema) in keywords.object("dependentSchemas")?.into_iter().flatten() {
            self.spend(1)?;
            if members.contains_key(name) && !self.fits(schema, whole, depth)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fits_combination(&mut self, keywords: &Keywords<'a>, value: &Value, depth: u32) -> Verdict {
        for schema in keywords.array("allOf")?.unwrap_or_default() {
            if !self.fits(schema, value, depth)? {
                return Ok(false);
            }
        }
        if let Some(schemas) = keywords.array("anyOf")?
            && self.count_fitting(schemas, value, depth)? == 0
        {
            return Ok(false);
        }
        if let Some(schemas) = keywords.array("oneOf")?
            && self.count_fitting(schemas, value, depth)? != 1
        {
            return Ok(false);
        }
        if let Some(schema) = keywords.0.get("not")
            && self.fits(schema, value, depth)?
        {
            return Ok(false);
        }
        let Some(condition) = keywords.0.get("if") else { return Ok(true) };
        let branch = if self.fits(condition, value, depth)? { "then" } else { "else" };
        keywords.0.get(branch).map_or(Ok(true), |schema| self.fits(schema, value, depth))
    }

    fn count_fitting(&mut self, schemas: &'a [Value], value: &Value, depth: u32) -> Result<u32, SchemaFault> {
        let mut fitting = 0;
        for schema in schemas {
            fitting += u32::from(self.fits(schema, value, depth)?);
        }
        Ok(fitting)
    }
}

/// Whole numbers beyond 53 bits are told apart exactly.
fn is_whole_pair(one: &serde_json::Number, other: &serde_json::Number) -> bool {
    let is_whole = |number: &serde_json::Number| number.is_i64() || number.is_u64();
    is_whole(one) && is_whole(other)
}

fn is_of_type(name: &str, value: &Value) -> Option<bool> {
    Some(match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => return None,
    })
}

fn fits_number(keywords: &Keywords<'_>, value: &Value) -> Verdict {
    let Some(number) = value.as_f64() else { return Ok(true) };
    let bound = |name| keywords.number(name);
    Ok(bound("minimum")?.is_none_or(|bound| number >= bound)
        && bound("maximum")?.is_none_or(|bound| number <= bound)
        && bound("exclusiveMinimum")?.is_none_or(|bound| number > bound)
        && bound("exclusiveMaximum")?.is_none_or(|bound| number < bound)
        && bound("multipleOf")?.is_none_or(|step| is_multiple(number, step)))
}

/// Decimal fractions are not exact in binary, so a quotient that is whole as far as its digits go counts as whole.
fn is_multiple(number: f64, step: f64) -> bool {
    let quotient = number / step;
    let distance = (quotient - quotient.round()).abs();
    quotient.is_finite() && distance <= quotient.abs().max(1.0) * f64::EPSILON
}

/// The keywords of a schema, read with the form that each must have.
struct Keywords<'a>(&'a Map<String, Value>);

impl<'a> Keywords<'a> {
    fn read<T>(&self, name: &'static str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>, SchemaFault> {
        self.0.get(name).map(|value| read(value).ok_or(SchemaFault::Keyword(name))).transpose()
    }

    fn text(&self, name: &'static str) -> Result<Option<&'a str>, SchemaFault> {
        self.read(name, Value::as_str)
    }

    fn array(&self, name: &'static str) -> Result<Option<&'a [Value]>, SchemaFault> {
        self.read(name, |value| value.as_array().map(Vec::as_slice))
    }

    fn object(&self, name: &'static str) -> Result<Option<&'a Map<String, Value>>, SchemaFault> {
        self.read(name, Value::as_object)
    }

    fn number(&self, name: &'static str) -> Result<Option<f64>, SchemaFault> {
        self.read(name, Value::as_f64)
    }

    /// A number of things. `2.0` is one.
    fn count(&self, name: &'static str) -> Result<Option<u64>, SchemaFault> {
        self.read(name, |value| value.as_u64().or_else(|| whole(value.as_f64()?)))
    }

    fn within(&self, least: &'static str, most: &'static str, count: u64) -> Verdict {
        Ok(self.count(least)?.is_none_or(|least| count >= least) && self.count(most)?.is_none_or(|most| count <= most))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and below 2^53")]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests;

//! What is served: each path with its methods, what they take, and what they answer.
//!
//! There is one list of these, [`super::groups`]. Requests are routed by it and counted under its patterns, and the OpenAPI document is
//! written from it. So what is served is described, and what is described is served.

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::ServiceConfig;
use actix_web::{FromRequest, Handler, HttpResponse, Responder, Route, web};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::problem::{Code, method_not_allowed};
use crate::api::status::Status;
use crate::domain::reason::Reason;

/// Describes a type in JSON Schema.
pub type Describe = fn(&mut SchemaGenerator) -> Schema;

/// The media type of nearly all bodies.
const JSON: &str = "application/json";

/// That of what browsers send who are at a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Paths about one subject.
pub struct Group {
    /// What the subject is called.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// The paths.
    pub paths: Vec<PathItem>,
}

/// A path with its methods.
pub struct PathItem {
    /// The path, with parts in braces that stand for any text.
    pub pattern: &'static str,
    /// What those parts are.
    pub parts: Vec<(&'static str, Describe)>,
    methods: Vec<(Method, Route, Operation)>,
    otherwise: fn() -> HttpResponse,
}

/// Begins a path.
pub fn at(pattern: &'static str) -> PathItem {
    PathItem { pattern, parts: Vec::new(), methods: Vec::new(), otherwise: method_not_allowed }
}

impl PathItem {
    /// Says what the part `{name}` of the path is.
    pub fn part<T: JsonSchema>(mut self, name: &'static str) -> Self {
        self.parts.push((name, SchemaGenerator::subschema_for::<T>));
        self
    }

    /// Takes GET.
    pub fn get<F, Args>(self, handler: F, operation: Operation) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.takes(Method::GET, web::get().to(handler), operation)
    }

    /// Takes POST.
    pub fn post<F, Args>(self, handler: F, operation: Operation) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.takes(Method::POST, web::post().to(handler), operation)
    }

    /// Takes PUT.
    pub fn put<F, Args>(self, handler: F, operation: Operation) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.takes(Method::PUT, web::put().to(handler), operation)
    }

    /// Takes DELETE.
    pub fn delete<F, Args>(self, handler: F, operation: Operation) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.takes(Method::DELETE, web::delete().to(handler), operation)
    }

    fn takes(mut self, method: Method, route: Route, operation: Operation) -> Self {
        self.methods.push((method, route, operation));
        self
    }

    /// Answers every other method in another way than with a problem document.
    pub fn otherwise(mut self, answer: fn() -> HttpResponse) -> Self {
        self.otherwise = answer;
        self
    }

    /// The methods, with what they do.
    pub fn operations(&self) -> impl Iterator<Item = (&Method, &Operation)> {
        self.methods.iter().map(|(method, _, operation)| (method, operation))
    }

    /// Puts the path in place.
    pub fn serve(self, config: &mut ServiceConfig) {
        let methods: Vec<_> = self.methods.iter().map(|(method, ..)| method.as_str()).collect();
        let (otherwise, allowed) = (self.otherwise, methods.join(", "));
        let refuse = move || {
            let mut response = otherwise();
            // RFC 9110 wants it, section 15.5.6.
            let allowed = HeaderValue::try_from(allowed.as_str()).ok();
            allowed.map(|allowed| response.headers_mut().insert(ALLOW, allowed));
            std::future::ready(response)
        };
        let resource =
            self.methods.into_iter().fold(web::resource(self.pattern), |resource, (_, route, _)| resource.route(route));
        config.service(resource.default_service(web::to(refuse)));
    }
}

/// Who may call. Each of these is a function of [`super::auth`], but that of the dashboard, where it is a question of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Everybody; a key is not looked at.
    Everybody,
    /// Providers and operators, and where the service is open everybody without a key.
    Providers,
    /// Every account, and where the service is open everybody without a key.
    Readers,
    /// Every account.
    Accounts,
    /// Merchants.
    Merchants,
    /// Merchants, and operators who name one.
    Overseers,
    /// Merchants and providers: who is told of events.
    Parties,
    /// Operators.
    Operators,
}

/// What an `Idempotency-Key` does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Nothing; it is not looked at.
    Ignored,
    /// Nothing, but a malformed one is refused: to do it twice is to do it once.
    Checked,
    /// The request is done once, and answered as it was the first time.
    Answered,
}

/// A good answer.
pub struct Answer {
    /// The status.
    pub status: Status,
    /// When it is given.
    pub about: &'static str,
    /// Its headers besides those of every answer, with what they say.
    pub headers: Vec<(&'static str, &'static str)>,
    /// What it may be made of, by media type. A text that is no JSON has no schema.
    pub content: Vec<(&'static str, Option<Describe>, Option<Value>)>,
}

/// In which form problems are told.
#[derive(Clone, Copy)]
pub enum Errors {
    /// As problem documents (RFC 9457).
    Documents,
    /// As pages for whoever asks for one, and for others as problem documents.
    Pages,
    /// In the endpoint's own answer.
    Typed {
        /// The answer.
        describe: Describe,
        /// An answer with a code.
        example: fn(&'static str, String) -> Value,
        /// The member that holds the code.
        member: &'static str,
        /// The code of what is nobody's fault, in the place of `internal` and `unavailable`.
        unexpected: Option<&'static str>,
    },
}

/// What is sent with a request.
pub struct Body {
    /// Its media type.
    pub media: &'static str,
    /// What it is.
    pub describe: Describe,
    /// Whether it must be there.
    pub required: bool,
    /// What it may look like, by the names of examples.
    pub examples: Vec<(&'static str, Value)>,
}

/// What a method does.
pub struct Operation {
    /// Its name, for programs that are made from the description.
    pub id: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What else there is to know.
    pub about: &'static str,
    /// Who may call it.
    pub callers: Callers,
    /// Whether a session of the dashboard is as good as the key that it was opened with.
    pub in_sessions: bool,
    /// The query, as objects that it is read into.
    pub query: Vec<Describe>,
    /// Headers that it reads, with what they say.
    pub headers: Vec<(&'static str, &'static str)>,
    /// What a key for repetitions does.
    pub repeats: Repeats,
    /// The body.
    pub body: Option<Body>,
    /// The good answers.
    pub answers: Vec<Answer>,
    /// How it tells of problems.
    pub errors: Errors,
    /// What problems it has beyond those of its callers, its query and its body.
    pub problems: Vec<Code>,
    /// Why it refuses payments, each with the status of the answer.
    pub refusals: Vec<(Reason, Status)>,
}

impl Operation {
    /// An operation that everybody may call and that asks the ledger.
    pub fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            about: "",
            callers: Callers::Everybody,
            in_sessions: false,
            query: Vec::new(),
            headers: Vec::new(),
            repeats: Repeats::Ignored,
            body: None,
            answers: Vec::new(),
            errors: Errors::Documents,
            problems: vec![Code::Internal, Code::Unavailable],
            refusals: Vec::new(),
        }
    }

    /// One that answers from memory, and always.
    pub fn constant(id: &'static str, summary: &'static str) -> Self {
        Self { problems: Vec::new(), ..Self::new(id, summary) }
    }

    /// Says more about it.
    pub fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Only these may call it.
    pub fn of(self, callers: Callers) -> Self {
        Self { callers, ..self }
    }

    /// A session of the dashboard opens it, too.
    pub fn in_sessions(self) -> Self {
        Self { in_sessions: true, ..self }
    }

    /// It reads this of its query.
    pub fn query<T: JsonSchema>(mut self) -> Self {
        self.query.push(T::json_schema);
        self
    }

    /// It reads this header.
    pub fn header(mut self, name: &'static str, about: &'static str) -> Self {
        self.headers.push((name, about));
        self
    }

    /// Says what an `Idempotency-Key` does.
    pub fn repeats(self, repeats: Repeats) -> Self {
        Self { repeats, ..self }
    }

    /// It reads this body.
    pub fn body<T: JsonSchema>(self, example: Value) -> Self {
        self.bodies::<T>(vec![("example", example)])
    }

    /// The same with several examples.
    pub fn bodies<T: JsonSchema>(self, examples: Vec<(&'static str, Value)>) -> Self {
        self.reads::<T>(JSON, true, examples)
    }

    /// It reads this as a form of a page.
    pub fn form<T: JsonSchema>(self, example: Value) -> Self {
        self.reads::<T>(FORM, true, vec![("example", example)])
    }

    /// It reads this body, which may be left out.
    pub fn optional_body<T: JsonSchema>(self, example: Value) -> Self {
        self.reads::<T>(JSON, false, vec![("example", example)])
    }

    fn reads<T: JsonSchema>(self, media: &'static str, required: bool, examples: Vec<(&'static str, Value)>) -> Self {
        Self { body: Some(Body { media, describe: SchemaGenerator::subschema_for::<T>, required, examples }), ..self }
    }

    /// It answers with this.
    pub fn answers<T: JsonSchema>(self, status: Status, about: &'static str) -> Self {
        self.gives(status, about, "application/json", Some(SchemaGenerator::subschema_for::<T>), None)
    }

    /// The same with an example of its own.
    pub fn answers_like<T: JsonSchema>(self, status: Status, about: &'static str, example: Value) -> Self {
        self.gives(status, about, "application/json", Some(SchemaGenerator::subschema_for::<T>), Some(example))
    }

    /// It answers with a text that is no JSON.
    pub fn answers_text(self, about: &'static str, media: &'static str, example: &str) -> Self {
        self.gives(Status::Ok, about, media, None, Some(Value::from(example)))
    }

    /// It answers by naming another place.
    pub fn sends_on(mut self, about: &'static str) -> Self {
        let headers = vec![("Location", "The place.")];
        self.answers.push(Answer { status: Status::SeeOther, about, headers, content: Vec::new() });
        self
    }

    fn gives(
        mut self,
        status: Status,
        about: &'static str,
        media: &'static str,
        describe: Option<Describe>,
        example: Option<Value>,
    ) -> Self {
        let content = (media, describe, example);
        if let Some(known) = self.answers.iter_mut().find(|answer| answer.status == status) {
            known.content.push(content);
        } else {
            self.answers.push(Answer { status, about, headers: Vec::new(), content: vec![content] });
        }
        self
    }

    /// Its good answer has this header.
    pub fn answer_header(mut self, name: &'static str, about: &'static str) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.push((name, about));
        }
        self
    }

    /// It tells of problems in an answer of its own.
    pub fn errors(self, errors: Errors) -> Self {
        Self { errors, ..self }
    }

    /// It has these problems, too.
    pub fn problems(mut self, codes: &[Code]) -> Self {
        self.problems.extend(codes);
        self
    }

    /// It refuses payments for these reasons.
    pub fn refusals(mut self, reasons: impl IntoIterator<Item = (Reason, Status)>) -> Self {
        self.refusals.extend(reasons);
        self
    }

    /// Every code that a problem of it can have, in the order of their statuses.
    pub fn codes(&self) -> Vec<Code> {
        let mut codes = self.problems.clone();
        match self.callers {
            Callers::Everybody => {}
            Callers::Readers | Callers::Accounts => codes.push(Code::Unauthorized),
            Callers::Providers | Callers::Merchants | Callers::Overseers | Callers::Parties | Callers::Operators => {
                codes.extend([Code::Unauthorized, Code::Forbidden]);
            }
        }
        if !self.query.is_empty() {
            codes.push(Code::BadParameter);
        }
        if self.body.is_some() {
            codes.extend([Code::IncompleteBody, Code::BodyTooSlow, Code::BodyTooLarge, Code::UnsupportedMediaType]);
            codes.push(Code::TooManyBodies);
            if matches!(self.errors, Errors::Documents | Errors::Pages) {
                codes.push(Code::BadBody);
            }
        }
        match self.repeats {
            Repeats::Ignored => {}
            Repeats::Checked => codes.push(Code::InvalidIdempotencyKey),
            Repeats::Answered => codes.extend([Code::InvalidIdempotencyKey, Code::IdempotencyKeyReused]),
        }
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

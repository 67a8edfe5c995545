//! Between messages and the JSON that the same thing is over HTTP. build.rs names these functions in what it makes.

/// How members of answers are read.
pub mod read {
    use prost_types::Timestamp;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde_json::value::RawValue;

    /// Any JSON, as its text.
    ///
    /// # Errors
    /// It is none.
    pub fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|json| json.get().to_owned())
    }

    /// The same where it is there.
    ///
    /// # Errors
    /// It is none.
    pub fn optional_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        json(deserializer).map(Some)
    }

    /// A list of any JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        let list = Vec::<Box<RawValue>>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|json| json.get().to_owned()).collect())
    }

    /// A text as it is, and other JSON as its text.
    ///
    /// # Errors
    /// It is none.
    pub fn text_or_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let json = json(deserializer)?;
        Ok(serde_json::from_str(&json).unwrap_or(json))
    }

    /// A moment (RFC 3339).
    ///
    /// # Errors
    /// It is none.
    pub fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Some).map_err(Error::custom)
    }
}

/// How members of requests are written.
pub mod write {
    use prost_types::Timestamp;
    use serde::ser::{Error, Serialize, Serializer};
    use serde_json::value::RawValue;

    /// JSON that came as its text.
    ///
    /// # Errors
    /// It is none.
    pub fn json<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
        let json = text.clone().map(RawValue::from_string).transpose().map_err(S::Error::custom)?;
        json.serialize(serializer)
    }

    /// A moment, in RFC 3339.
    ///
    /// # Errors
    /// There is no such moment.
    pub fn moment<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        moment.as_ref().map(ToString::to_string).serialize(serializer)
    }
}

//! What a request carries to be let in: `Authorization` and the configured headers.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::file::{SecretText, read_text};
use super::oauth2::TokenSource;
use super::{ClientError, ClientSettings, Deadline, HeaderValues, Url};
use crate::model::encode_base64;

/// The credentials of one client.
#[derive(Debug)]
pub(super) struct Credentials {
    basic: Option<(SecretText, SecretText)>,
    authorization: Option<(String, Option<SecretText>)>,
    oauth2: Option<TokenSource>,
    headers: Vec<(HeaderName, HeaderValues)>,
}

impl Credentials {
    /// Checks the settings.
    pub(super) fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let given = [settings.basic_auth.is_some(), settings.authorization.is_some(), settings.oauth2.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            let text = "at most one of basic_auth, authorization and oauth2 may be set";
            return Err(ClientError::Settings(text.to_owned()));
        }
        let headers = settings.headers.iter().map(|(name, values)| Ok((header_name(name)?, values.clone())));
        Ok(Self {
            basic: settings.basic_auth.as_ref().map(|basic| {
                (SecretText::new("username", &basic.username), SecretText::new("password", &basic.password))
            }),
            authorization: settings.authorization.as_ref().map(|authorization| {
                let credentials = authorization.credentials.as_ref();
                (authorization.scheme.clone(), credentials.map(|source| SecretText::new("credentials", source)))
            }),
            oauth2: settings.oauth2.as_deref().map(TokenSource::new).transpose()?,
            headers: headers.collect::<Result<_, ClientError>>()?,
        })
    }

    /// Adds what is configured or, without that, what stands in the address; an `Authorization` that is already there stays.
    pub(super) async fn apply(
        &self,
        headers: &mut HeaderMap,
        url: &Url,
        deadline: &Deadline,
    ) -> Result<(), ClientError> {
        for (name, values) in &self.headers {
            append_values(headers, name, values)?;
        }
        if headers.contains_key(hyper::header::AUTHORIZATION) {
            return Ok(());
        }
        let text = match (&self.basic, &self.authorization, &self.oauth2) {
            (Some((user, password)), ..) => basic_credentials(user.text()?.expose(), password.text()?.expose()),
            (_, Some((scheme, Some(credentials))), _) => format!("{scheme} {}", credentials.text()?.expose()),
            (_, Some((scheme, None)), _) => scheme.clone(),
            // In a box: it is large, and all requests would make room for it.
            (_, _, Some(source)) => Box::pin(source.authorization(deadline)).await?,
            _ => match &url.user {
                Some((user, password)) => basic_credentials(user, password.expose()),
                None => return Ok(()),
            },
        };
        headers.insert(hyper::header::AUTHORIZATION, secret_value("Authorization", &text)?);
        Ok(())
    }
}

/// The value of an `Authorization: Basic` header.
pub(super) fn basic_credentials(user: &str, password: &str) -> String {
    format!("Basic {}", encode_base64(format!("{user}:{password}").as_bytes()))
}

/// A header value that logs do not show.
pub(super) fn secret_value(name: &str, text: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| ClientError::Settings(format!("the value of the header {name} holds a control character")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn append_values(headers: &mut HeaderMap, name: &HeaderName, values: &HeaderValues) -> Result<(), ClientError> {
    // The configured values replace what the caller set.
    headers.remove(name);
    for text in &values.values {
        headers.append(name, secret_value(name.as_str(), text)?);
    }
    for secret in &values.secrets {
        headers.append(name, secret_value(name.as_str(), secret.expose())?);
    }
    for path in &values.files {
        headers.append(name, secret_value(name.as_str(), read_text("header", path)?.trim())?);
    }
    Ok(())
}

fn header_name(name: &str) -> Result<HeaderName, ClientError> {
    name.parse().map_err(|_| ClientError::Settings(format!("{name:?} is not a valid header name")))
}

//! OAuth2's client credentials flow (RFC 6749, section 4.4): a token is fetched when it is needed and kept until
//! shortly before it expires.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::auth::{basic_credentials, secret_value};
use super::file::SecretText;
use super::url::{Url, encode_query, push_query_part};
use super::{Client, ClientError, ClientSettings, Deadline, OAuth2, Request};

/// A token is not used in its last seconds: it must still be good when the server looks at it.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);
/// The longest answer of a token server.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Gives tokens of one configured client.
#[derive(Debug)]
pub(super) struct TokenSource {
    settings: OAuth2,
    secret: Option<SecretText>,
    url: Url,
    client: Box<Client>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    /// Set once the server has refused the credentials in the header and taken them in the form.
    in_form: bool,
}

#[derive(Debug)]
struct Token {
    authorization: String,
    /// The secret that it was bought with: a new secret needs a new token.
    secret: String,
    expires: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl TokenSource {
    /// Checks the settings.
    pub(super) fn new(settings: &OAuth2) -> Result<Self, ClientError> {
        let client =
            ClientSettings { tls: settings.tls.clone(), proxy: settings.proxy.clone(), ..ClientSettings::default() };
        Ok(Self {
            secret: settings.client_secret.as_ref().map(|source| SecretText::new("client secret", source)),
            url: Url::parse(&settings.token_url)?,
            client: Box::new(Client::new(&client)?),
            settings: settings.clone(),
            state: Mutex::default(),
        })
    }

    /// The `Authorization` header, from memory or from the token server.
    pub(super) async fn authorization(&self, deadline: &Deadline) -> Result<String, ClientError> {
        let secret = match &self.secret {
            Some(secret) => secret.text()?.expose().to_owned(),
            None => String::new(),
        };
        // Held while fetching, so that many requests at once fetch one token.
        let mut state = self.state.lock().await;
        if let Some(token) = &state.token
            && token.secret == secret
            && token.expires.is_none_or(|expires| Instant::now() < expires)
        {
            return Ok(token.authorization.clone());
        }
        let (status, answer) = self.fetch(&secret, state.in_form, deadline).await?;
        let (status, answer) = if (400..500).contains(&status) && !state.in_form {
            let again = self.fetch(&secret, true, deadline).await?;
            state.in_form = (200..300).contains(&again.0);
            again
        } else {
            (status, answer)
        };
        let token = self.parse(status, &answer, secret)?;
        let authorization = token.authorization.clone();
        state.token = Some(token);
        Ok(authorization)
    }

    async fn fetch(&self, secret: &str, in_form: bool, deadline: &Deadline) -> Result<(u16, Vec<u8>), ClientError> {
        let mut request = Request::post(self.url.clone(), Bytes::from(self.form(secret, in_form)));
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.timeout = deadline.left();
        if !in_form {
            let (mut user, mut password) = (String::new(), String::new());
            push_query_part(&mut user, &self.settings.client_id);
            push_query_part(&mut password, secret);
            request.headers.insert(AUTHORIZATION, secret_value("Authorization", &basic_credentials(&user, &password))?);
        }
        let mut response = Box::pin(self.client.send(request)).await?;
        let answer = response.read_body(ANSWER_BYTES_MAX).await?;
        Ok((response.status.as_u16(), answer))
    }

    fn form(&self, secret: &str, in_form: bool) -> String {
        let scope = self.settings.scopes.join(" ");
        let mut pairs = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            pairs.push(("scope", &scope));
        }
        pairs.extend(self.settings.endpoint_params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if in_form {
            pairs.extend([("client_id", self.settings.client_id.as_str()), ("client_secret", secret)]);
        }
        encode_query(pairs)
    }

    fn parse(&self, status: u16, answer: &[u8], secret: String) -> Result<Token, ClientError> {
        let failed = |reason: String| ClientError::Token { url: self.url.to_string(), reason };
        if !(200..300).contains(&status) {
            return Err(failed(format!("it answered with HTTP status {status}")));
        }
        let answer: Answer = serde_json::from_slice(answer).map_err(|error| failed(error.to_string()))?;
        let seconds = match answer.expires_in {
            Some(serde_json::Value::Number(number)) => number.as_f64(),
            Some(serde_json::Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        let lifetime = seconds.filter(|seconds| *seconds > 0.0).and_then(|s| Duration::try_from_secs_f64(s).ok());
        let expires = lifetime.and_then(|time| Instant::now().checked_add(time.saturating_sub(EXPIRY_MARGIN)));
        let scheme = match answer.token_type.to_ascii_lowercase().as_str() {
            "" | "bearer" => "Bearer",
            "mac" => "MAC",
            "basic" => "Basic",
            _ => answer.token_type.as_str(),
        };
        Ok(Token { authorization: format!("{scheme} {}", answer.access_token), secret, expires })
    }
}

//! `/settings/ssl-info` (contract 5.2): the certificate that Nexus shows to browsers, as helmd reads it.

use axum::Json;
use axum::extract::State;
use helm_proto::v1;
use helm_shapes::time::optional;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Person;
use crate::problem::{PlainBody, ProblemBody, Result};

/// What the Python Helm called it.
const NEXUS: &str = "nexus";

/// The certificate of Nexus, and those of all services with an https address.
#[derive(Debug, Serialize, ToSchema)]
pub struct SslInfo {
    #[serde(flatten)]
    nexus: Certificate,
    /// Of each service that has one.
    certificates: Vec<Certificate>,
}

/// One certificate.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Certificate {
    /// Whose; absent: no service has an https address and a directory.
    service: Option<String>,
    /// Its file is there.
    exists: bool,
    /// Its file.
    path: Option<String>,
    subject: Option<String>,
    issuer: Option<String>,
    /// As openssl writes it: `Jan 31 12:00:00 2027 GMT`
    expires: Option<String>,
    /// The same, ISO 8601.
    not_after: Option<String>,
    not_before: Option<String>,
    /// Whole days that it is still good for; negative: it has expired.
    days_left: Option<i64>,
    /// Host names and addresses that it is good for.
    names: Vec<String>,
    /// Nobody else stands for it: browsers warn.
    self_signed: Option<bool>,
    /// Why nothing is told of it.
    error: Option<String>,
}

impl From<v1::Certificate> for Certificate {
    fn from(told: v1::Certificate) -> Self {
        let known = told.error.is_empty();
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            service: given(told.service),
            exists: told.exists,
            path: given(told.path),
            subject: given(told.subject),
            issuer: given(told.issuer),
            expires: told.not_after.as_ref().and_then(as_openssl),
            not_after: optional(told.not_after),
            not_before: optional(told.not_before),
            days_left: known.then_some(told.days_left),
            names: told.names,
            self_signed: known.then_some(told.self_signed),
            error: given(told.error),
        }
    }
}

fn as_openssl(at: &helm_proto::Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_second(at.seconds).ok()?;
    Some(at.strftime("%b %e %H:%M:%S %Y GMT").to_string())
}

/// The certificate that Nexus shows to browsers: whose it is, by whom, for which names, until when. Of its key nothing is read.
#[utoipa::path(get, path = "/settings/ssl-info", tag = "configuration", responses(
    (status = 200, body = SslInfo), (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 503, body = ProblemBody)))]
pub async fn ssl_info(State(app): State<App>, Person(caller): Person) -> Result<Json<SslInfo>> {
    let told = app.backend.client(&caller.principal).await?.certificates().await?;
    let certificates: Vec<Certificate> = told.into_iter().map(Certificate::from).collect();
    let of_nexus = |one: &&Certificate| one.service.as_deref() == Some(NEXUS);
    let nexus = certificates.iter().find(of_nexus).or(certificates.first()).cloned();
    let error = "no service with an https address is installed here";
    let nexus =
        nexus.unwrap_or_else(|| Certificate { error: Some(error.to_owned()), ..Certificate::default() });
    Ok(Json(SslInfo { nexus, certificates }))
}

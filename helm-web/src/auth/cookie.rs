//! The cookie of a local session.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

/// Its name.
pub const NAME: &str = "helm_local";
/// How long a browser keeps it, in seconds: as long as the session can live.
const AGE: u64 = 12 * 3600;

/// What a browser is told to keep. HttpOnly and SameSite=Strict: no script reads it, no other site sends it.
#[must_use]
pub fn set(value: &str) -> String {
    format!("{NAME}={value}; Path=/; Max-Age={AGE}; HttpOnly; SameSite=Strict")
}

/// What makes a browser forget it.
#[must_use]
pub fn forget() -> String {
    format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
}

/// What a request brings; with two of that name none counts.
#[must_use]
pub fn of(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut ours = pairs.flat_map(|value| value.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME && !value.is_empty()).then_some(value)
    });
    let value = ours.next()?;
    ours.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_of_that_name_counts() {
        let of_text = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, text.parse().unwrap());
            of(&headers).map(str::to_owned)
        };
        assert_eq!(of_text("session=x; helm_local=abc").as_deref(), Some("abc"));
        assert_eq!(of_text("helm_local=a; helm_local=b"), None);
        assert_eq!(of_text("helm_local="), None);
        assert_eq!(of_text("xhelm_local=a"), None);
    }
}

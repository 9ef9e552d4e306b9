//! Requests and responses.

/// A response's status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($name:ident $code:literal $phrase:literal)*) => {
        impl Status {
            $(#[doc = concat!(stringify!($code), " ", $phrase)] pub const $name: Self = Self($code);)*

            /// The standard phrase.
            pub fn phrase(self) -> &'static str {
                match self.0 {
                    $($code => $phrase,)*
                    100..=199 => "Continue",
                    200..=299 => "OK",
                    300..=399 => "Redirect",
                    400..=499 => "Client Error",
                    _ => "Server Error",
                }
            }
        }
    };
}

statuses! {
    OK 200 "OK"
    MOVED_PERMANENTLY 301 "Moved Permanently"
    FOUND 302 "Found"
    BAD_REQUEST 400 "Bad Request"
    UNAUTHORIZED 401 "Unauthorized"
    FORBIDDEN 403 "Forbidden"
    NOT_FOUND 404 "Not Found"
    METHOD_NOT_ALLOWED 405 "Method Not Allowed"
    NOT_ACCEPTABLE 406 "Not Acceptable"
    ENTITY_TOO_LARGE 413 "Request Entity Too Large"
    UNSUPPORTED_MEDIA_TYPE 415 "Unsupported Media Type"
    NOT_ENOUGH_BANDWIDTH 453 "Not Enough Bandwidth"
    SESSION_NOT_FOUND 454 "Session Not Found"
    NOT_VALID_IN_THIS_STATE 455 "Method Not Valid in This State"
    INVALID_RANGE 457 "Invalid Range"
    AGGREGATE_NOT_ALLOWED 459 "Aggregate Operation Not Allowed"
    ONLY_AGGREGATE_ALLOWED 460 "Only Aggregate Operation Allowed"
    UNSUPPORTED_TRANSPORT 461 "Unsupported Transport"
    INTERNAL_ERROR 500 "Internal Server Error"
    NOT_IMPLEMENTED 501 "Not Implemented"
    UNAVAILABLE 503 "Service Unavailable"
    VERSION_NOT_SUPPORTED 505 "RTSP Version Not Supported"
    OPTION_NOT_SUPPORTED 551 "Option Not Supported"
}

//! The device service (ONVIF core §8): the camera's clock, what it is, where its other services are.

use ::media::WallTime;

use super::soap::{Request, body, find, shortened, text};
use super::{MAX_ANSWER_BYTES, ReadError};

pub(super) const DEVICE: &str = "http://www.onvif.org/ver10/device/wsdl";
pub(super) const SCHEMA: &str = "http://www.onvif.org/ver10/schema";

/// Where the services are that have streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// ONVIF media, version 1.
    pub media: Option<String>,
    /// Version 2, where H.265 is.
    pub media2: Option<String>,
}

/// What a camera is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Information {
    /// Who made it.
    pub manufacturer: Option<String>,
    /// What it is called.
    pub model: Option<String>,
    /// What it runs.
    pub firmware: Option<String>,
}

/// Asks for the camera's clock, which every camera should tell without a login.
pub fn get_time() -> Request {
    Request::new(DEVICE, "GetSystemDateAndTime", "")
}

/// The camera's clock; `None` when it does not say.
///
/// # Errors
/// [`ReadError`].
pub fn time(answer: &[u8]) -> Result<Option<WallTime>, ReadError> {
    body(answer, MAX_ANSWER_BYTES, |body| {
        let Some(utc) = find(body, SCHEMA, "UTCDateTime") else {
            return Ok(None);
        };
        let number = |name| -> Option<i64> { find(utc, SCHEMA, name).and_then(text)?.parse().ok() };
        let at = || {
            let date = (number("Year")?, number("Month")?, number("Day")?);
            let time = (number("Hour")?, number("Minute")?, number("Second")?);
            WallTime::from_utc(date, time)
        };
        Ok(at())
    })
}

/// Asks where the services are.
pub fn get_services() -> Request {
    Request::new(DEVICE, "GetServices", "<IncludeCapability>false</IncludeCapability>")
}

/// Where they are.
///
/// # Errors
/// [`ReadError`].
pub fn services(answer: &[u8]) -> Result<Services, ReadError> {
    body(answer, MAX_ANSWER_BYTES, |body| {
        let of = |namespace: &str| {
            let all = body.descendants().filter(|node| node.has_tag_name((DEVICE, "Service")));
            let mut addresses = all.filter_map(|service| {
                let name = find(service, DEVICE, "Namespace").and_then(text)?;
                let address = find(service, DEVICE, "XAddr").and_then(text)?;
                (name == namespace).then(|| address.to_owned())
            });
            addresses.next()
        };
        find(body, DEVICE, "GetServicesResponse").ok_or(ReadError::Missing("GetServicesResponse"))?;
        Ok(Services {
            media: of(super::media::MEDIA),
            media2: of(super::media::MEDIA2),
        })
    })
}

/// Asks the same of cameras that do not know [`get_services`].
pub fn get_capabilities() -> Request {
    Request::new(DEVICE, "GetCapabilities", "<Category>All</Category>")
}

/// Where they are.
///
/// # Errors
/// [`ReadError`].
pub fn capabilities(answer: &[u8]) -> Result<Services, ReadError> {
    body(answer, MAX_ANSWER_BYTES, |body| {
        let media = find(body, SCHEMA, "Media").ok_or(ReadError::Missing("Media among its capabilities"))?;
        let address = find(media, SCHEMA, "XAddr").and_then(text);
        Ok(Services {
            media: address.map(str::to_owned),
            media2: None,
        })
    })
}

/// Asks what the camera is.
pub fn get_information() -> Request {
    Request::new(DEVICE, "GetDeviceInformation", "")
}

/// What it is.
///
/// # Errors
/// [`ReadError`].
pub fn information(answer: &[u8]) -> Result<Information, ReadError> {
    body(answer, MAX_ANSWER_BYTES, |body| {
        let of = |name| find(body, DEVICE, name).and_then(text).map(shortened);
        Ok(Information {
            manufacturer: of("Manufacturer"),
            model: of("Model"),
            firmware: of("FirmwareVersion"),
        })
    })
}

//! What cameras say, each in its own way of writing XML. The samples have the shape of what cameras of these makers send, shortened and with made-up
//! addresses.

use ::media::WallTime;

use super::device::{self, Information, Services};
use super::discovery::{self, Asked, Found};
use super::media::{self, Profile, Version};
use super::soap::{Login, escaped};
use super::{Fault, MAX_ANSWER_BYTES, MAX_DATAGRAM_BYTES, ReadError};

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("samples/", $name, ".xml")).as_slice()
    };
}

const ID: &str = "11111111-2222-4333-8444-555555555555";

/// An answer with the prefixes that gSOAP writes, which most cameras use.
fn gsoap(body: &str) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:tds=\"http://www.onvif.org/ver10/device/wsdl\" xmlns:trt=\"http://www.onvif.org/ver10/media/wsdl\" \
         xmlns:tr2=\"http://www.onvif.org/ver20/media/wsdl\" xmlns:tt=\"http://www.onvif.org/ver10/schema\">\
         <SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
    )
    .into_bytes()
}

fn login(nonce: [u8; 16], created: WallTime) -> Login<'static> {
    Login {
        user: "user<1>",
        password: "userpassword",
        nonce,
        created,
    }
}

#[test]
fn a_login_is_the_digest_of_nonce_time_and_password() {
    // By `printf 0123456789abcdef2010-09-16T07:50:45.000Zuserpassword | openssl dgst -sha1 -binary | base64`.
    let login = login(*b"0123456789abcdef", WallTime::from_unix_micros(1_284_623_445_000_000));
    let text = device::get_services().envelope(Some(&login));
    for part in [
        "<u:Created>2010-09-16T07:50:45.000Z<",
        "#PasswordDigest\">L1jHiuKAWVe4/mWu5yDkQgrOkiA=<",
        "#Base64Binary\">MDEyMzQ1Njc4OWFiY2RlZg==<",
        "<w:Username>user&lt;1&gt;<",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("userpassword") && !format!("{login:?}").contains("userpassword"));
    assert!(!device::get_services().envelope(None).contains("Security"));
    assert_eq!(escaped("a<b>&\"c'\u{1}"), "a&lt;b&gt;&amp;&quot;c&apos;");
    assert_eq!(
        media::get_stream_uri(Version::Two, "a<b").action,
        "http://www.onvif.org/ver20/media/wsdl/GetStreamUri"
    );
    assert!(
        media::get_stream_uri(Version::One, "a<b")
            .envelope(None)
            .contains(">a&lt;b<")
    );
}

#[test]
fn the_cameras_clock_is_read_through_leap_days() {
    let at = device::time(sample!("axis_time")).unwrap().unwrap();
    assert_eq!(at.to_rfc3339(), "2024-02-29T23:59:58.000Z");
    let text = String::from_utf8(sample!("axis_time").to_vec()).unwrap();
    for wrong in ["1", "x", "", "99999999999999999999", "-2024"] {
        let text = text.replace(">2024<", &format!(">{wrong}<"));
        assert_eq!(device::time(text.as_bytes()), Ok(None), "{wrong}");
    }
    assert_eq!(device::time(&gsoap("<tds:GetSystemDateAndTimeResponse/>")), Ok(None));
}

#[test]
fn namespaces_count_and_prefixes_do_not() {
    let own = "<Envelope xmlns=\"http://www.w3.org/2003/05/soap-envelope\"><Body><trt:GetServicesResponse xmlns:trt=\"http://www.onvif.org/ver10/device/wsdl\">\
        <trt:Service><trt:Namespace> http://www.onvif.org/ver10/media/wsdl </trt:Namespace><trt:XAddr>http://10.0.0.4/a</trt:XAddr></trt:Service>\
        <Service xmlns=\"http://www.onvif.org/ver10/device/wsdl\"><Namespace>http://www.onvif.org/ver20/media/wsdl</Namespace><XAddr>http://10.0.0.4/b</XAddr></Service>\
        <tds:Service xmlns:tds=\"urn:other\"><tds:Namespace>http://www.onvif.org/ver10/media/wsdl</tds:Namespace><tds:XAddr>http://evil/</tds:XAddr></tds:Service>\
        </trt:GetServicesResponse></Body></Envelope>";
    let services = Services {
        media: Some("http://10.0.0.4/a".into()),
        media2: Some("http://10.0.0.4/b".into()),
    };
    assert_eq!(device::services(own.as_bytes()), Ok(services.clone()));
    // Cameras with SOAP 1.1, such that begin with a byte order mark, and such that send the end of a C string.
    let old = own.replace(
        "http://www.w3.org/2003/05/soap-envelope",
        "http://schemas.xmlsoap.org/soap/envelope/",
    );
    assert_eq!(
        device::services(format!("\u{feff}\r\n{old}\0").as_bytes()),
        Ok(services)
    );
    let other = device::services(&gsoap("<tds:Other/>"));
    assert_eq!(other, Err(ReadError::Missing("GetServicesResponse")));
    let page = device::services(b"<html><body>Not found</body></html>");
    assert_eq!(page, Err(ReadError::Missing("SOAP envelope")));
}

#[test]
fn where_services_are() {
    let services = device::services(sample!("hikvision_services")).unwrap();
    let paths = (services.media.as_deref(), services.media2.as_deref());
    assert_eq!(
        paths,
        (
            Some("http://192.168.1.64/onvif/Media"),
            Some("http://192.168.1.64/onvif/Media2")
        )
    );
    // Everything by its default namespace, and another service before that of media.
    let services = device::capabilities(sample!("tapo_capabilities")).unwrap();
    assert_eq!(
        services.media.as_deref(),
        Some("http://192.168.1.33:2020/onvif/service")
    );
    let tapo = Information {
        manufacturer: Some("tp-link".into()),
        model: Some("Tapo C200".into()),
        firmware: Some("1.3.9 Build 231019 Rel.40257n(4555)".into()),
    };
    assert_eq!(device::information(sample!("tapo_information")), Ok(tapo));
    let odd = "<tds:GetDeviceInformationResponse><tds:Manufacturer>Acme\u{7f}</tds:Manufacturer><tds:Model/></tds:GetDeviceInformationResponse>";
    let odd = device::information(&gsoap(odd)).unwrap();
    assert_eq!((odd.manufacturer.as_deref(), odd.model), (Some("Acme"), None));
}

/// Token, codec, size and frame rate.
fn shown(profiles: &[Profile]) -> Vec<String> {
    let one = |profile: &Profile| {
        let (width, height) = profile.size.unwrap_or_default();
        let encoding = profile.encoding.as_deref().unwrap_or("?");
        let fps = profile.fps.unwrap_or_default();
        format!("{} {encoding} {width}x{height} {fps}", profile.token)
    };
    profiles.iter().map(one).collect()
}

#[test]
fn profiles_of_both_versions() {
    let dahua = media::profiles(Version::One, sample!("dahua_profiles")).unwrap();
    assert_eq!(
        shown(&dahua),
        [
            "MediaProfile000 H264 2688x1520 25",
            "MediaProfile001 H264 704x576 15",
            "MediaProfile002 JPEG 352x288 0"
        ]
    );
    assert_eq!(dahua[0].name, "MediaProfile_Channel1_MainStream");
    assert_eq!(dahua[0].lens.as_deref(), Some("000"));
    let reolink = media::profiles(Version::One, sample!("reolink_profiles")).unwrap();
    assert_eq!(shown(&reolink), ["000 H264 2560x1944 30", "001 H264 640x480 10"]);
    let hikvision = media::profiles(Version::Two, sample!("hikvision_profiles2")).unwrap();
    assert_eq!(
        shown(&hikvision),
        ["Profile_1 H265 2560x1440 25", "Profile_2 H264 640x480 13"]
    );
    let other = media::profiles(Version::One, sample!("hikvision_profiles2"));
    assert_eq!(other, Err(ReadError::Missing("GetProfilesResponse")));
}

#[test]
fn profiles_without_pictures_are_left_out_and_odd_figures_not_believed() {
    let body = "<trt:GetProfilesResponse><trt:Profiles token=\"p1\"><tt:VideoEncoderConfiguration><tt:Encoding>H264</tt:Encoding><tt:Resolution>\
        <tt:Width>0</tt:Width><tt:Height>-1</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>NaN</tt:FrameRateLimit></tt:RateControl></tt:VideoEncoderConfiguration></trt:Profiles>\
        <trt:Profiles token=\"p2\"><tt:Name>sound</tt:Name></trt:Profiles><trt:Profiles><tt:Name>no token</tt:Name></trt:Profiles></trt:GetProfilesResponse>";
    let profiles = media::profiles(Version::One, &gsoap(body)).unwrap();
    assert_eq!(shown(&profiles), ["p1 H264 0x0 0"]);
    assert_eq!(profiles[0].name, "p1", "where it has no name");
    let many = "<trt:Profiles token=\"a\"><tt:VideoEncoderConfiguration/></trt:Profiles>".repeat(300);
    let many = gsoap(&format!("<trt:GetProfilesResponse>{many}</trt:GetProfilesResponse>"));
    assert_eq!(media::profiles(Version::One, &many).unwrap().len(), 256);
}

#[test]
fn which_profile_is_meant() {
    let profile = |token: &str, encoding: &str, width: u32, lens: &str| Profile {
        token: token.to_owned(),
        name: token.to_owned(),
        encoding: Some(encoding.to_owned()),
        size: (width > 0).then_some((width, 100)),
        fps: None,
        lens: Some(lens.to_owned()),
    };
    let dahua = media::profiles(Version::One, sample!("dahua_profiles")).unwrap();
    let best = media::main(&dahua).unwrap();
    assert_eq!(best.token, "MediaProfile000");
    let low = media::lower(&dahua, best).map(|low| low.token.as_str());
    assert_eq!(low, Some("MediaProfile001"), "JPEG is smaller and not carried");
    let several = [
        profile("sub", "H264", 640, "1"),
        profile("mjpeg", "JPEG", 4_000, "1"),
        profile("main", "H265", 1_920, "1"),
        profile("third", "H265", 1_280, "1"),
        profile("second main", "H265", 1_920, "2"),
        profile("second sub", "H265", 320, "2"),
    ];
    let best = media::main(&several).unwrap();
    assert_eq!(best.token, "main", "the first of the largest that are carried");
    let low = media::lower(&several, best).map(|low| low.token.as_str());
    assert_eq!(low, Some("third"), "of its lens, and its codec before its size");
    let unknown = [profile("a", "h264", 0, "1"), profile("b", "H264", 0, "1")];
    let best = media::main(&unknown).unwrap();
    assert_eq!((best.token.as_str(), media::lower(&unknown, best)), ("a", None));
    assert_eq!(media::main(&several[1..2]), None);
}

#[test]
fn where_a_stream_is() {
    let dahua = media::stream_uri(Version::One, sample!("dahua_uri"));
    assert_eq!(
        dahua.as_deref(),
        Ok("rtsp://192.168.1.108:554/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif")
    );
    let axis = media::stream_uri(Version::Two, sample!("axis_uri"));
    assert!(axis.unwrap().ends_with("&streamtype=unicast"));
    assert!(media::stream_uri(Version::One, sample!("axis_uri")).is_err());
    let long = format!("<tr2:Uri>rtsp://a/{}</tr2:Uri>", "x".repeat(2_000));
    assert!(media::stream_uri(Version::Two, &gsoap(&long)).is_err());
}

#[test]
fn refusals_say_what_they_are_about() {
    let fault = |answer: &[u8]| match device::services(answer) {
        Err(ReadError::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    };
    assert!(fault(sample!("hikvision_fault")).is_about_login);
    let Fault { is_about_login, reason } = fault(sample!("tapo_fault"));
    assert!(is_about_login && reason == "FailedAuthentication", "{reason}");
    let Fault { is_about_login, reason } = fault(sample!("old_fault"));
    assert!(
        !is_about_login && reason == "Optional Action Not Implemented",
        "{reason}"
    );
    let said = |text: &str| {
        fault(&gsoap(&format!(
            "<SOAP-ENV:Fault><SOAP-ENV:Reason><SOAP-ENV:Text>{text}</SOAP-ENV:Text></SOAP-ENV:Reason></SOAP-ENV:Fault>"
        )))
    };
    assert!(
        said("Sender not Authorized").is_about_login,
        "without a code of its own"
    );
    assert_eq!(said(&"y".repeat(9_999)).reason.len(), 200);
    assert_eq!(fault(&gsoap("<SOAP-ENV:Fault/>")).reason, "no reason given");
}

#[test]
fn answers_to_a_question_to_all() {
    let answer = discovery::answer(sample!("hikvision_probe")).unwrap();
    assert!(answer.is_to(&["0".into(), ID.into()]) && !answer.is_to(&["0".into()]));
    let found = &answer.found[0];
    let names = (found.name.as_deref(), found.hardware.as_deref());
    assert_eq!(names, (Some("HIKVISION DS-2CD2143G0-I"), Some("DS-2CD2143G0-I")));
    let axis = discovery::answer(sample!("axis_probe")).unwrap();
    let from = |address: &str| axis.found[0].address(address.parse().unwrap());
    let own = "http://169.254.7.9/onvif/device_service";
    assert_eq!(from("169.254.7.9").as_deref(), Some(own), "its own");
    assert_eq!(
        from("10.0.0.9").as_deref(),
        Some("http://10.0.0.9/onvif/device_service"),
        "moved"
    );
    assert_eq!(
        from("fe80::1").as_deref(),
        Some("http://[fe80::1]/onvif/device_service")
    );
    // Without the element around it, and with another namespace than usual inside.
    let flat = "<Envelope xmlns=\"http://www.w3.org/2003/05/soap-envelope\"><Body xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><d:ProbeMatch>\
        <d:EndpointReference><Address xmlns=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\">urn:uuid:1</Address></d:EndpointReference>\
        <d:XAddrs>http://10.0.0.4:8080/x</d:XAddrs></d:ProbeMatch></Body></Envelope>";
    let flat = discovery::answer(flat.as_bytes()).unwrap();
    assert!(flat.is_to(&[ID.into()]), "it does not say");
    assert_eq!(flat.found[0].endpoint, "urn:uuid:1");
    let probe = discovery::probe(Asked::Cameras, ID);
    assert!(probe.contains(&format!("urn:uuid:{ID}<")));
    assert_ne!(probe, discovery::probe(Asked::Devices, ID));
    assert!(discovery::answer(probe.as_bytes()).is_err(), "a question is no answer");
}

#[test]
fn nobody_sends_us_to_another_host() {
    let odd = |address: &str| {
        let found = Found {
            endpoint: "urn:uuid:1".into(),
            addresses: vec![address.into()],
            name: None,
            hardware: None,
        };
        found.address("10.0.0.4".parse().unwrap())
    };
    assert_eq!(odd("file:///etc/passwd"), None);
    assert_eq!(odd("rtsp://10.0.0.4/"), None);
    for (address, asked) in [
        ("http://u:p@evil.example:81?x", "http://10.0.0.4:81?x"),
        ("http://[fe80::2]:80/x", "http://10.0.0.4:80/x"),
        ("http://evil.example/@10.0.0.5", "http://10.0.0.4/@10.0.0.5"),
        ("http://a@b@evil/x", "http://10.0.0.4/x"),
        ("HTTPS://evil#x", "HTTPS://10.0.0.4#x"),
    ] {
        assert_eq!(odd(address).as_deref(), Some(asked), "{address}");
    }
}

#[test]
fn one_device_by_two_ways_is_one() {
    let found = |endpoint: &str, addresses: &[&str]| Found {
        endpoint: endpoint.into(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        name: None,
        hardware: None,
    };
    let camera = found("urn:uuid:1", &["http://10.0.0.4/x", "http://10.1.0.4/x"]);
    assert!(camera.is_same(&found("urn:uuid:1", &["http://10.1.0.4/x"])));
    let twin = found("urn:uuid:1", &["http://10.0.0.5/x"]);
    assert!(!camera.is_same(&twin), "a maker that gave all of them one name");
    assert!(!camera.is_same(&found("urn:uuid:2", &["http://10.0.0.4/x"])));
}

/// A body within a valid envelope of any size.
fn hostile(body: &str) -> Result<Services, ReadError> {
    device::services(&gsoap(body))
}

#[test]
fn hostile_texts_are_refused() {
    let refused = |text: String| matches!(hostile(&text), Err(ReadError::NotXml(_)));
    assert!(refused("<a/>".repeat(60_000)), "more elements than are read");
    let too_large = |text: &str| match hostile(text) {
        Err(ReadError::TooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    const DEPTH: &str = "elements within each other";
    let nested = |open: &str, close: &str, count: usize| open.repeat(count) + &close.repeat(count);
    assert_eq!(too_large(&nested("<a>", "</a>", 19_000)), DEPTH);
    assert_eq!(too_large(&nested("<a>", "</a>", 100)), DEPTH);
    assert_eq!(too_large(&"<a>".repeat(19_000)), DEPTH, "never closed");
    // What is no end of an element does not count as one.
    for within in [
        "<!-- </a></a> -->",
        "<![CDATA[</a></a>]]>",
        "<?x </a></a>?>",
        "/>/>",
        "<b c='</a>/>'/>",
    ] {
        let text = nested(&format!("<a>{within}"), "</a>", 100);
        assert_eq!(too_large(&text), DEPTH, "{within}");
    }
    assert!(hostile(&nested("<a>", "</a>", 61)).is_err_and(|error| error == ReadError::Missing("GetServicesResponse")));
    // It took minutes to read this: each with the prefixes of all around it.
    let named: String = (0..5_900).map(|i| format!("<a xmlns:n{i}='u{i}'>")).collect();
    assert_eq!(too_large(&(named + &"</a>".repeat(5_900))), "namespaces");
    // The worst that is read takes some hundredths of a second.
    let many: String = (0..330).map(|i| format!(" xmlns:n{i}='u{i}'")).collect();
    let each = "<b xmlns:o='p'/>".repeat(160);
    assert!(hostile(&format!("<a{many}>{each}</a>")).is_err());
    let many: String = (0..5_900).map(|i| format!(" n{i}='u{i}'")).collect();
    assert!(hostile(&format!("<a{many}/>")).is_err());
    for head in [
        "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\">]>",
        "<!DOCTYPE x [<!ENTITY b SYSTEM \"file:///etc/passwd\">]>",
        "<!DOCTYPE x SYSTEM \"http://10.0.0.1/x.dtd\">",
    ] {
        let text = format!(
            "{head}<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body>&b;</s:Body></s:Envelope>"
        );
        let read = device::services(text.as_bytes());
        assert!(matches!(read, Err(ReadError::NotXml(_))), "{head}: {read:?}");
    }
    assert!(refused("&b;".to_owned()), "an entity that nobody has declared");
    let large = |read: Result<(), ReadError>| matches!(read, Err(ReadError::TooLarge { what: "bytes", .. }));
    assert!(large(device::services(&vec![b' '; MAX_ANSWER_BYTES + 1]).map(drop)));
    assert!(large(discovery::answer(&vec![b' '; MAX_DATAGRAM_BYTES + 1]).map(drop)));
    let many = (0..6_001).map(|i| format!("a{i}='' ")).collect::<String>();
    let many = hostile(&format!("<x {many}/>"));
    assert!(
        matches!(many, Err(ReadError::TooLarge { what: "attributes", .. })),
        "{many:?}"
    );
}

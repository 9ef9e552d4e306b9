//! Offers as browsers make them.

/// The lines of a section that every offer needs.
const COMMON: &str = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:Yq7T\r\na=ice-pwd:8kZPcMVNBJLRNWKFRT0cFLtz\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n\
    a=setup:actpass\r\na=rtcp-mux\r\n";

/// Chromium's for `recvonly` picture and sound, shortened where lines repeat.
pub(crate) fn chromium() -> String {
    format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 106 107 39 40 112 113 116 117\r\n{COMMON}a=mid:0\r\n\
         a=extmap:1 urn:ietf:params:rtp-hdrext:toffset\r\na=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\na=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
         a=extmap:12 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\na=recvonly\r\na=rtcp-rsize\r\n\
         a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
         a=rtpmap:102 H264/90000\r\na=rtcp-fb:102 nack\r\na=rtcp-fb:102 nack pli\r\n\
         a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n\
         a=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\na=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106\r\n\
         a=rtpmap:39 H264/90000\r\na=rtcp-fb:39 nack\r\na=fmtp:39 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=4d001f\r\n\
         a=rtpmap:40 rtx/90000\r\na=fmtp:40 apt=39\r\n\
         a=rtpmap:112 H264/90000\r\na=rtcp-fb:112 nack\r\na=fmtp:112 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n\
         a=rtpmap:113 rtx/90000\r\na=fmtp:113 apt=112\r\na=rtpmap:116 red/90000\r\na=rtpmap:117 ulpfec/90000\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110\r\n{COMMON}a=mid:1\r\na=extmap:14 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
         a=recvonly\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
         a=rtpmap:63 red/48000/2\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\n\
         a=rtpmap:110 telephone-event/48000\r\n"
    )
}

/// One picture in H.264 with these profiles.
pub(crate) fn h264(profiles: &[&str]) -> String {
    let numbers: Vec<_> = (96..)
        .zip(profiles)
        .map(|(number, _): (u8, _)| number.to_string())
        .collect();
    let mut lines: String = (96_u8..)
        .zip(profiles)
        .map(|(number, profile)| {
            format!(
                "a=rtpmap:{number} H264/90000\r\na=fmtp:{number} packetization-mode=1;profile-level-id={profile}\r\n"
            )
        })
        .collect();
    lines.push_str("a=mid:0\r\na=recvonly\r\n");
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF {}\r\n{COMMON}{lines}",
        numbers.join(" ")
    )
}

/// Chromium's, as a publisher's: camera and microphone, with their sources, and a data channel.
pub(crate) fn publishing() -> String {
    let sending = chromium()
        .replace("a=recvonly", "a=sendonly")
        .replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    let sources = "a=ssrc-group:FID 1111 2222\r\na=ssrc:1111 cname:x\r\na=ssrc:2222 cname:x\r\n";
    let at = sending.find("m=audio").unwrap_or(0);
    let (picture, sound) = sending.split_at(at);
    format!(
        "{picture}{sources}{sound}a=ssrc:3333 cname:x\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{COMMON}a=mid:2\r\na=sctp-port:5000\r\n"
    )
}

//! SRTP against the vectors of its RFCs, itself, and what was there before.

use proptest::prelude::*;
use rstest::rstest;

use super::cipher::{Counter, Gcm};
use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

/// Both sides of a session with these keys.
fn pair(profile: SrtpProfile) -> (Srtp, Srtp) {
    let material: Vec<u8> = (0..profile.keying_material_len() as u8).collect();
    let material = KeyingMaterial::new(&material);
    let side = |client| Srtp::new(profile, &material, client).unwrap();
    (side(true), side(false))
}

/// With the session keys of RFC 7714, the same for all it does.
fn rfc7714(key: &str) -> Srtp {
    let cipher = || {
        Cipher::Gcm(Box::new(
            Gcm::new(&bytes(key), array("517569642070726f2071756f")).unwrap(),
        ))
    };
    Srtp {
        rtp: cipher(),
        rtcp: cipher(),
        rtcp_index: 0x5d4,
        theirs: cipher(),
        replay: Replay::default(),
    }
}

const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const RTP: &str =
    "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573";
const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef";

#[test]
fn keys_are_derived_as_rfc_3711_has_it() {
    // Appendix B.3.
    let master = Master::new(
        &bytes("e1f97a0d3e018be0d64fa32c06de4139"),
        &bytes("0ec675ad498afeebb6960b3aabe6"),
    )
    .unwrap();
    let derive = |label, length| {
        let mut key = vec![0; length];
        master.derive(label, &mut key).unwrap();
        key
    };
    assert_eq!(derive(0, 16), bytes("c61e7a93744f39ee10734afe3ff7a087"));
    assert_eq!(derive(1, 20), bytes("cebe321f6ff7716b6fd4ab49af256a156d38baa4"));
    assert_eq!(derive(2, 14), bytes("30cbbc08863d8c85d49db34a9ae1"));
}

#[test]
fn counter_mode_is_that_of_rfc_3711() {
    // Appendix B.2: source and number are zero.
    let key = bytes("2b7e151628aed2a6abf7158809cf4f3c");
    let counter = Counter::new(&key, &[0; 20], array("f0f1f2f3f4f5f6f7f8f9fafbfcfd")).unwrap();
    let mut stream = [0; 48];
    counter.keystream(0, 0, &mut stream).unwrap();
    let expected = "e03ead0935c95e80e166b16dd92b4eb4 d23513162b02d0f72a43a2fe4a5f97ab 41e95b3bb0a2e8dd477901e4fca894c0";
    assert_eq!(stream.to_vec(), bytes(expected));
}

#[rstest]
#[case::aes_128(
    KEY_128,
    "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833 899d7f27 beb16a91 52cf765e e4390cce"
)]
#[case::aes_256(
    KEY_256,
    "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13"
)]
fn packets_are_sealed_as_rfc_7714_has_it(#[case] key: &str, #[case] sealed: &str) {
    // Section 16: the packet's first twelve bytes stay readable.
    let mut packet = bytes(RTP);
    rfc7714(key).seal_rtp(&mut packet, 0, 12, 0x5501_a0b2, 0xf17b).unwrap();
    assert_eq!(
        (&packet[..12], packet[12..].to_vec()),
        (&bytes(RTP)[..12], bytes(sealed))
    );
}

#[rstest]
#[case::aes_128(
    KEY_128,
    "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4"
)]
#[case::aes_256(
    KEY_256,
    "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4"
)]
fn reports_are_sealed_and_opened_as_rfc_7714_has_it(#[case] key: &str, #[case] sealed: &str) {
    // Section 17.
    let mut packet = bytes(RTCP);
    let mut srtp = rfc7714(key);
    srtp.seal_rtcp(&mut packet, 0).unwrap();
    assert_eq!(packet, bytes(sealed));
    assert_eq!(srtp.open_rtcp(&packet), Some(bytes(RTCP)));
}

#[test]
fn a_packet_of_another_program_is_opened_in_counter_mode() {
    // Sent by a browser, with the material that was exported for it.
    let material = "2cb02346b42276a672cfd143aec2d5ee ddde55f0ad7bcac22666f1c6386173ed 6eb25cb7d26a61a1ee2c210adae7 60aaa2fd67b672c41aed105f9d36";
    let sealed = "80c80006 3cd7cc13 b7c831dc b776cd8d c26fda1d 9bfc8ee6 589a1a8a 49289cae b264200c 37d2d0a4 afac6385 ffc60dec 7d06d487 3dd3a8cc \
                  80000001 b7bb5265 21d1e73c 0fc0";
    let opened = "80c80006 3cd7cc13 e2ee35c8 604e618c 26f32734 00000043 00001407 81ca0006 3cd7cc13 0110386e 46753268 5766724d 44724766 346f0000";
    let material = KeyingMaterial::new(&bytes(material));
    let mut srtp = Srtp::new(SrtpProfile::AES128_CM_SHA1_80, &material, false).unwrap();
    assert_eq!(srtp.open_rtcp(&bytes(sealed)), Some(bytes(opened)));
    let mut sender = Srtp::new(SrtpProfile::AES128_CM_SHA1_80, &material, true).unwrap();
    sender.rtcp_index = 1;
    let mut packet = bytes(opened);
    sender.seal_rtcp(&mut packet, 0).unwrap();
    assert_eq!(packet, bytes(sealed));
}

/// A report of `ssrc` as the peer seals it.
fn report(peer: &mut Srtp, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    peer.seal_rtcp(&mut packet, 0).unwrap();
    packet
}

#[rstest]
#[case(SrtpProfile::AEAD_AES_256_GCM)]
#[case(SrtpProfile::AEAD_AES_128_GCM)]
#[case(SrtpProfile::AES128_CM_SHA1_80)]
fn what_was_there_before_is_refused(#[case] profile: SrtpProfile) {
    let (mut peer, mut ours) = pair(profile);
    let packets: Vec<_> = (0..100).map(|_| report(&mut peer, 1)).collect();
    let mut opens = |number: usize| ours.open_rtcp(&packets[number]).is_some();
    assert!(opens(0) && !opens(0), "the same twice");
    assert!(opens(70) && opens(69) && opens(7), "late, within the window of 64");
    assert!(!opens(69) && !opens(7) && !opens(6), "twice, and too late");
    assert!(opens(99) && opens(71) && !opens(70) && !opens(35));
    // Another source has numbers of its own to be told apart by.
    assert!(ours.open_rtcp(&report(&mut peer, 2)).is_some());
}

#[test]
fn sources_are_counted_and_so_many_are_heard() {
    let (mut peer, mut ours) = pair(SrtpProfile::AEAD_AES_256_GCM);
    let heard = (0..100).filter(|ssrc| ours.open_rtcp(&report(&mut peer, *ssrc)).is_some());
    assert_eq!(heard.count(), MAX_SOURCES);
    assert!(ours.open_rtcp(&report(&mut peer, 5)).is_some(), "known before");
}

#[test]
fn numbers_of_rtcp_never_come_round() {
    let (mut peer, _) = pair(SrtpProfile::AEAD_AES_256_GCM);
    peer.rtcp_index = ENCRYPTED - 1;
    report(&mut peer, 1);
    assert_eq!(peer.seal_rtcp(&mut vec![0; 8], 0), Err(Refused));
}

#[test]
fn what_is_not_encrypted_is_not_heard() {
    // Section 17.3 of RFC 7714: authenticated alone, which nobody agreed on.
    let packet = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef \
                  841dd968 3dd78ec9 2ae58790 125f62b3 000005d4";
    assert_eq!(rfc7714(KEY_128).open_rtcp(&bytes(packet)), None);
}

/// RTP opened as a receiver does it, by a cipher of the sender's keys.
fn open_rtp(srtp: &Srtp, packet: &[u8], header_bytes: usize, ssrc: u32, index: u64) -> Option<Vec<u8>> {
    let (header, body) = packet.split_at(header_bytes);
    match &srtp.rtp {
        Cipher::Gcm(gcm) => {
            let mut body = body.to_vec();
            Some(gcm.open(gcm.nonce(ssrc, index), header, &mut body)?.to_vec())
        }
        Cipher::Counter(counter) => {
            let (whole, tag) = packet.split_last_chunk::<{ cipher::SHORT_TAG_BYTES }>()?;
            let rounds = ((index >> 16) as u32).to_be_bytes();
            if !counter.is_tag(&[whole, &rounds], tag) {
                return None;
            }
            let mut body = whole[header_bytes..].to_vec();
            counter.keystream(ssrc, index, &mut body).ok()?;
            Some(body)
        }
    }
}

fn profiles() -> impl Strategy<Value = SrtpProfile> {
    prop::sample::select(SrtpProfile::ALL)
}

proptest! {
    #[test]
    fn packets_come_out_as_they_went_in(
        profile in profiles(),
        header in prop::collection::vec(any::<u8>(), 12..40),
        payload in prop::collection::vec(any::<u8>(), 0..1_300),
        before in 0_usize..50,
        ssrc: u32,
        index in 0_u64..1 << 48,
        broken: prop::sample::Index,
    ) {
        let (ours, _) = pair(profile);
        let mut out = vec![7; before];
        out.extend(&header);
        out.extend(&payload);
        ours.seal_rtp(&mut out, before, header.len(), ssrc, index).unwrap();
        let packet = &mut out[before..];
        prop_assert_eq!(&packet[..header.len()], &header[..]);
        prop_assert_eq!(open_rtp(&ours, packet, header.len(), ssrc, index), Some(payload));
        prop_assert_eq!(open_rtp(&ours, packet, header.len(), ssrc, index + 65_536), None, "another round");
        packet[broken.index(packet.len())] ^= 1;
        prop_assert_eq!(open_rtp(&ours, packet, header.len(), ssrc, index), None);
    }

    #[test]
    fn reports_come_out_as_they_went_in(
        profile in profiles(),
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 8..300), 1..20),
        broken: prop::sample::Index,
    ) {
        let (mut ours, mut theirs) = pair(profile);
        for packet in packets.iter().take(MAX_SOURCES) {
            let mut sealed = packet.clone();
            ours.seal_rtcp(&mut sealed, 0).unwrap();
            let mut damaged = sealed.clone();
            let at = broken.index(damaged.len());
            damaged[at] ^= 1;
            prop_assert_eq!(theirs.open_rtcp(&damaged), None);
            prop_assert_eq!(theirs.open_rtcp(&sealed), Some(packet.clone()));
        }
    }

    #[test]
    fn rubbish_is_refused(profile in profiles(), packet in prop::collection::vec(any::<u8>(), 0..200)) {
        let (mut ours, _) = pair(profile);
        prop_assert_eq!(ours.open_rtcp(&packet), None);
    }
}

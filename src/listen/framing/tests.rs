#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
use super::*;

/// What hyper is given of these bytes.
fn through(wire: &[u8]) -> Vec<u8> {
    let mut guard = StrictFraming::new(tokio::io::empty(), 16 * 1024);
    guard.feed(wire);
    guard.ready
}

fn stands_for(problem: Problem) -> Vec<u8> {
    in_place_of(b"GET", problem)
}

#[test]
fn what_stands_for_a_refused_head_is_answered_as_that_one_would_be() {
    for (wire, method) in [
        ("HEAD /a\x7f HTTP/1.1\r\n\r\n", "HEAD"),
        ("HEAD * HTTP/1.1\r\n\r\n", "HEAD"),
        ("\r\nHEADS /a\x7f\n", "REFUSED"),
    ] {
        let head = String::from_utf8(through(wire.as_bytes())).unwrap();
        let (first, target) = head.split_once("\r\n").unwrap().0.split_once(' ').unwrap();
        assert_eq!(first, method, "{wire:?}");
        assert!(refused(&target.split(' ').next().unwrap().parse().unwrap()).is_some(), "{wire:?}");
    }
    assert_eq!(refused(&"/REFUSED".parse().unwrap()), None);
}

#[test]
fn unambiguous_messages_pass_byte_for_byte() {
    for wire in [
        &b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // Names in any case (RFC 9110 section 5.1); what is behind the body would be refused as a head.
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nHOST: a\r\nCONTENT-LENGTH: 2\r\n\r\n\n\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4 \xff\t!\r\n\r\n",
    ] {
        assert_eq!(through(wire), wire);
    }
}

#[test]
fn every_split_of_the_bytes_gives_the_same_result() {
    let wire = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for at in 0..wire.len() {
        let (head, tail) = wire.split_at(at);
        let mut guard = StrictFraming::new(tokio::io::empty(), 16 * 1024);
        guard.feed(head);
        guard.feed(tail);
        assert_eq!(guard.ready, wire);
    }
}

// B3 70
#[test]
fn what_two_readers_could_frame_differently_is_refused() {
    let bad = [
        ("both lengths", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("both lengths, other order", "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("equal lengths twice", "POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        ("a list of lengths", "POST /a HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n"),
        ("an empty length", "POST /a HTTP/1.1\r\nContent-Length:\r\n\r\n"),
        ("a signed length", "POST /a HTTP/1.1\r\nContent-Length: +5\r\n\r\n"),
        ("an obscured coding", "POST /a HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        ("one coding twice", "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("two codings", "POST /a HTTP/1.1\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("space before the colon", "POST /a HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n"),
        ("a fourth word", "GET /a HTTP/1.1 x\r\nHost: a\r\n\r\n"),
        ("no colon", "GET /a HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        ("no name", "GET /a HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
        ("obs-fold", "GET /a HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
        ("bare LF", "GET /a HTTP/1.1\nHost: a\r\n\r\n"),
        ("bare CR", "GET /a HTTP/1.1\r\nX: a\rb\r\n\r\n"),
        ("two hosts in two cases", "GET /a HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
        ("two hosts", "GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("tab in the request line", "GET\t/a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("two spaces", "GET  /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no version", "GET /a\r\nHost: a\r\n\r\n"),
        ("another version", "GET /a HTTP/1.2\r\nHost: a\r\n\r\n"),
        ("no method", " /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a method with a colon", "GE:T /a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("angle brackets", "GET /a<b> HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("DEL in the target", "GET /a\x7fb HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a name with a space", "GET /a HTTP/1.1\r\nHo st: a\r\n\r\n"),
        ("a name with brackets", "GET /a HTTP/1.1\r\n(X): a\r\n\r\n"),
        ("DEL in a value", "GET /a HTTP/1.1\r\nX: a\x7fb\r\n\r\n"),
        ("a coding in HTTP/1.0", "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a length near 2^64", "POST /a HTTP/1.1\r\nContent-Length: 18446744073709551614\r\n\r\n"),
        ("h2c upgrade", "GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n"),
        ("h2c among upgrades", "GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket, H2C\r\n\r\n"),
    ];
    for (name, wire) in bad {
        assert_eq!(through(wire.as_bytes()), stands_for(Problem::Head), "{name}");
    }
}

#[test]
fn a_chunk_size_line_without_end_is_refused_at_once() {
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut guard = StrictFraming::new(tokio::io::empty(), 16 * 1024);
    guard.feed(head.as_bytes());
    guard.feed(b"00000000005");
    assert_eq!(guard.state, State::Refused);
    assert!(guard.ready.ends_with(b"\0\r\n\r\n"));
}

#[test]
fn nothing_behind_a_head_above_the_limit_is_framed() {
    for line in ["x".repeat(100), format!("X: {}\r\n", "x".repeat(100))] {
        let mut guard = StrictFraming::new(tokio::io::empty(), 64);
        guard.feed(line.as_bytes());
        guard.feed(b"\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(guard.ready, stands_for(Problem::HeadTooLarge));
    }
}

#[test]
fn chunk_extensions_trailers_and_bare_line_feeds_in_chunks_are_refused() {
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5;x=y\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "5\r\nhelloo\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "000000005\r\nhello\r\n0\r\n\r\n",
    ] {
        let out = through(format!("{head}{body}").as_bytes());
        assert!(out.ends_with(b"\0\r\n\r\n"), "{body:?}");
    }
}

#[test]
fn targets_that_are_no_path_and_heads_with_too_much_are_told_apart() {
    for target in ["*", "http://a/b", "a:443", "?x", "a"] {
        let wire = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(through(wire.as_bytes()), stands_for(Problem::Target), "{target}");
    }
    for (fields, passes) in [(100, true), (101, false)] {
        let wire = format!("GET /a HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(fields));
        let given = through(wire.as_bytes());
        let expected = if passes { wire.into_bytes() } else { stands_for(Problem::HeadTooLarge) };
        assert_eq!(given, expected);
    }
}

#[test]
fn a_target_longer_than_its_type_can_hold_is_refused_whatever_the_limit_of_the_head() {
    for (length, passes) in [(65_534, true), (65_535, false)] {
        let wire = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
        let mut guard = StrictFraming::new(tokio::io::empty(), 256 * 1024);
        guard.feed(wire.as_bytes());
        let expected = if passes { wire.into_bytes() } else { stands_for(Problem::HeadTooLarge) };
        assert!(guard.ready == expected, "{length}");
    }
}

#[test]
fn targets_that_people_use_pass() {
    for target in ["/", "//a", "/a?b=c|d&e=%20", "/a?b=\"c\"", "/a?b={c}", "/a?b=\u{fc}", "/\u{fc}", "/a?b=c^d`e\\f"] {
        let wire = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            through(wire.as_bytes()) == wire.as_bytes(),
            target.parse::<http::Uri>().is_ok(),
            "{target}: as the type for targets has it"
        );
    }
    assert_eq!(through(b"GET /\xff HTTP/1.1\r\n\r\n"), stands_for(Problem::Head), "no UTF-8");
}

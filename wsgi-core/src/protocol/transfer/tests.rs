//! Messages arrive as they were sent, and no bytes make the reader panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::host::RequestView;
use crate::protocol::environ::tests::requests;

fn round_trip(message: &Message) -> Message {
    let bytes = message.encode();
    let mut rest = bytes.as_slice();
    let read = Message::read(&mut rest).unwrap();
    assert!(rest.is_empty(), "the whole message is read");
    for end in 0..bytes.len() {
        assert!(Message::read(&mut &bytes[..end]).is_err(), "{end} bytes are no message");
    }
    read
}

fn head() -> impl Strategy<Value = ResponseHead> {
    let framing = prop_oneof![any::<u64>().prop_map(Framing::Length), Just(Framing::Unknown), Just(Framing::NoBody)];
    let headers = vec(("[A-Za-z][A-Za-z-]{0,12}", "[ -~]{0,20}"), 0..6);
    let length = proptest::option::of(any::<u32>());
    (200..=599u16, framing, headers, length, any::<bool>()).prop_map(|(code, framing, fields, length, single_block)| {
        let mut headers = HeaderList::new();
        for (name, value) in fields {
            // Some of the names are refused.
            let _ = headers.push(name.as_bytes(), value.as_bytes());
        }
        if let Some(length) = length {
            let _ = headers.push(b"Content-Length", length.to_string().as_bytes());
        }
        let mut head =
            ResponseHead::new(StatusLine::parse(format!("{code} Text").as_bytes()).unwrap(), headers, framing);
        head.single_block = single_block;
        head
    })
}

proptest! {
    #[test]
    fn requests_arrive_whole(requests in requests(1..3), body in proptest::option::of(vec(any::<u8>(), 0..50)), number in any::<u64>()) {
        for request in &requests {
            let message = Message::Request(number, RequestSnapshot::new(request), body.clone());
            let Message::Request(location, read, read_body) = round_trip(&message) else { panic!("another kind") };
            prop_assert_eq!((location, &read_body), (number, &body));
            prop_assert_eq!(read.headers().map(|field| (field.name.to_vec(), field.value.to_vec(), field.hash)).collect::<Vec<_>>(),
                request.headers().map(|field| (field.name.to_vec(), field.value.to_vec(), field.hash)).collect::<Vec<_>>());
            prop_assert_eq!(read.variables().collect::<Vec<_>>(), request.variables().collect::<Vec<_>>());
            prop_assert_eq!(read.extra().collect::<Vec<_>>(), request.extra().collect::<Vec<_>>());
            prop_assert_eq!((read.method(), read.query(), read.path_info()), (request.method(), request.query(), request.path_info()));
            prop_assert_eq!(format!("{:?}", (read.server(), read.peer(), read.scheme(), read.content_length())),
                format!("{:?}", (request.server(), request.peer(), request.scheme(), request.content_length())));
        }
    }

    #[test]
    fn heads_arrive_whole(head in head()) {
        let Message::Head(read) = round_trip(&Message::Head(head.clone())) else { panic!("another kind") };
        prop_assert_eq!(read, head);
    }

    #[test]
    fn blocks_and_lines_arrive_whole(data in vec(any::<u8>(), 0..100), flush in any::<bool>(), text in ".{0,40}") {
        let Message::Block(read, flushed) = round_trip(&Message::Block(data.clone().into(), flush)) else { panic!("another kind") };
        prop_assert_eq!((&read[..], flushed), (&data[..], flush));
        for level in LEVELS {
            let Message::Line(read, line) = round_trip(&Message::Line(level, text.clone())) else { panic!("another kind") };
            prop_assert_eq!((read, &line), (level, &text));
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(kind in 0..13u8, content in vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(kind, content.into());
    }

    #[test]
    fn damaged_messages_do_not_make_the_reader_panic(requests in requests(1..2), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Message::Request(1, RequestSnapshot::new(&requests[0]), None).encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Message::Request(_, request, _)) = Message::read(&mut bytes.as_slice()) {
            let _ = (request.headers().count(), request.extra().count(), request.variables().count(), request.method());
        }
    }
}

#[test]
fn short_messages_arrive_whole() {
    assert!(matches!(round_trip(&Message::Flush), Message::Flush));
    assert!(matches!(round_trip(&Message::End), Message::End));
    assert!(matches!(round_trip(&Message::Ready), Message::Ready));
    assert!(matches!(round_trip(&Message::Refused), Message::Refused));
    assert!(matches!(round_trip(&Message::Accepted), Message::Accepted));
    for outcome in Outcome::ALL {
        assert!(matches!(round_trip(&Message::Over(outcome)), Message::Over(read) if read == outcome));
    }
    for wanted in [true, false] {
        assert!(matches!(round_trip(&Message::Interest(wanted)), Message::Interest(read) if read == wanted));
    }
    for status in [None, Some(StatusCode::SERVICE_UNAVAILABLE)] {
        assert!(matches!(round_trip(&Message::Failed(status)), Message::Failed(read) if read == status));
    }
}

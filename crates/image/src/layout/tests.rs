use super::*;
use oci_spec::image::MediaType;

fn layout() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(&dir.path().join("l")).unwrap();
    (dir, layout)
}

fn describe(bytes: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::ImageManifest, bytes.len() as u64, digest::of(bytes).unwrap())
}

#[test]
fn a_new_layout_is_what_the_specification_says() {
    let (_dir, layout) = layout();
    let text = fs::read_to_string(layout.root().join("oci-layout")).unwrap();
    assert_eq!(text, r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert!(layout.index().unwrap().manifests().is_empty());
    assert!(layout.root().join("blobs/sha256").is_dir());
    let error = layout.find(None, None, None).unwrap_err().to_string();
    assert!(error.contains("holds no image"), "{error}");
}

#[test]
fn what_is_not_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let error = Layout::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("there is no OCI image layout"), "{error}");
    fs::create_dir(dir.path().join("home")).unwrap();
    let error = Layout::open_or_create(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is not an OCI image layout"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    fs::remove_dir(dir.path().join("home")).unwrap();
    write_new(&dir.path().join("oci-layout"), b"").unwrap();
    assert!(Layout::open(dir.path()).is_err());
}

#[test]
fn blobs_are_proved_on_the_way_in_and_out() {
    let (_dir, layout) = layout();
    let descriptor = layout.put_blob(b"abc", MediaType::ImageLayer).unwrap();
    assert_eq!(descriptor.digest(), describe(b"abc").digest());
    assert_eq!(layout.read_blob(&descriptor).unwrap(), b"abc");
    assert!(layout.begin_blob(&descriptor).unwrap().is_none());
    assert!(!layout.root().join(".orlop-partial").try_exists().unwrap());

    fs::remove_file(layout.blob_path(descriptor.digest())).unwrap();
    let mut writer = layout.begin_blob(&descriptor).unwrap().unwrap();
    writer.write_all(b"abd").unwrap();
    let error = writer.commit().unwrap_err().to_string();
    assert!(error.contains("does not match its digest"), "{error}");
    assert!(!layout.has(&descriptor).unwrap());
    // A wrong part is not continued.
    assert_eq!(layout.begin_blob(&descriptor).unwrap().unwrap().written(), 0);

    let other = layout.put_blob(b"abd", MediaType::ImageLayer).unwrap();
    fs::rename(layout.blob_path(other.digest()), layout.blob_path(descriptor.digest())).unwrap();
    let error = format!("{:#}", layout.read_blob(&descriptor).unwrap_err());
    assert!(error.contains("does not match its digest"), "{error}");
}

#[test]
fn an_interrupted_blob_is_taken_up() {
    let (_dir, layout) = layout();
    let descriptor = describe(b"one two three");
    let mut writer = layout.begin_blob(&descriptor).unwrap().unwrap();
    writer.write_all(b"one two").unwrap();
    drop(writer);
    let mut writer = layout.begin_blob(&descriptor).unwrap().unwrap();
    assert_eq!(writer.written(), 7);
    writer.write_all(b" three").unwrap();
    writer.commit().unwrap();
    assert_eq!(layout.read_blob(&descriptor).unwrap(), b"one two three");
}

#[test]
fn sizes_are_kept() {
    let (_dir, layout) = layout();
    let descriptor = describe(b"abc");
    let mut writer = layout.begin_blob(&descriptor).unwrap().unwrap();
    assert!(writer.write_all(b"abcd").is_err());
    drop(writer);
    let mut writer = layout.begin_blob(&descriptor).unwrap().unwrap();
    writer.restart().unwrap();
    writer.write_all(b"ab").unwrap();
    let error = writer.commit().unwrap_err().to_string();
    assert!(error.contains("ends after 2 bytes"), "{error}");
    write_new(&layout.blob_path(descriptor.digest()), b"four").unwrap();
    assert!(!layout.has(&descriptor).unwrap() && layout.read_blob(&descriptor).is_err());
    layout.put_blob(b"abc", MediaType::ImageLayer).unwrap();
    assert_eq!(layout.read_blob(&descriptor).unwrap(), b"abc");
}

#[test]
fn two_writers_of_one_blob() {
    let (_dir, layout) = layout();
    let descriptor = describe(b"abc");
    let mut first = layout.begin_blob(&descriptor).unwrap().unwrap();
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| layout.begin_blob(&descriptor).unwrap().is_some());
        first.write_all(b"abc").unwrap();
        first.commit().unwrap();
        second.join().unwrap()
    });
    assert!(!second && layout.has(&descriptor).unwrap());
    assert!(!layout.root().join(".orlop-partial").try_exists().unwrap());
}

#[test]
fn names_move_and_go() {
    let (_dir, layout) = layout();
    let (one, two) = (describe(b"1"), describe(b"2"));
    layout.tag(&one, Some("a")).unwrap();
    layout.tag(&two, Some("b")).unwrap();
    assert_eq!(layout.find(Some("a"), None, None).unwrap().digest(), one.digest());
    layout.tag(&two, Some("a")).unwrap();
    assert_eq!(layout.find(Some("a"), None, None).unwrap().digest(), two.digest());
    let error = layout.find(None, None, None).unwrap_err().to_string();
    assert!(error.contains("name one of b, a"), "{error}");
    let error = layout.find(Some("c"), None, None).unwrap_err().to_string();
    assert!(error.contains("no image \"c\", it has b, a"), "{error}");
    layout.untag("b").unwrap();
    assert!(layout.untag("b").is_err());
    assert_eq!(layout.find(None, None, None).unwrap().digest(), two.digest());
}

#[test]
fn what_others_wrote_into_the_index_stays() {
    let (_dir, layout) = layout();
    let index = r#"{"schemaVersion":2,"manifests":[],"annotations":{"x":"y"},"io.example":[1]}"#;
    layout.replace("index.json", index.as_bytes()).unwrap();
    layout.tag(&describe(b"1"), Some("a")).unwrap();
    let text = fs::read_to_string(layout.root().join("index.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["annotations"]["x"], &value["io.example"][0]), (&"y".into(), &1.into()));
}

#[test]
fn a_fifo_holds_nobody_up() {
    let (_dir, layout) = layout();
    let descriptor = Descriptor::new(MediaType::ImageLayer, 0, digest::of(b"").unwrap());
    let path = layout.blob_path(descriptor.digest());
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(layout.read_blob(&descriptor).is_err());
}

import Testing

@testable import Wire

@Suite struct EdgeFieldsTests {
  private typealias Record = (id: UInt32, value: [UInt8])

  private func section(_ records: [Record]) -> [UInt8] {
    records.flatMap { le($0.id) + le(UInt32($0.value.count)) + $0.value }
  }

  private func scan(_ bytes: [UInt8]) -> Result<EdgeFields, WireError> {
    bytes.withUnsafeBytes { raw in
      do throws(WireError) { return .success(try EdgeFields.scan(raw)) } catch { return .failure(error) }
    }
  }

  /// The rules read off the records one by one, in their order, without any of the scan's shortcuts.
  private func reference(_ records: [Record]) -> Result<EdgeFields, WireError> {
    var fields = EdgeFields()
    var offset = 0
    for (index, record) in records.enumerated() {
      let id = HeaderID(rawValue: Int32(bitPattern: record.id))
      if [1000, 1010].contains(record.id), record.value.count != 4 {
        return .failure(.badHeader(id, reason: "\(record.value.count) bytes instead of 4"))
      }
      if [128, 1000, 1001, 1010].contains(record.id), records[..<index].contains(where: { $0.id == record.id }) {
        return .failure(.duplicateHeader(id))
      }
      let number = record.value.count == 4 ? record.value.withUnsafeBytes { u32($0, 0) } : 0
      switch record.id {
      case 1000: (fields.connID, fields.connIDOffset) = (number, offset + 8)
      case 1010: fields.flags = EdgeFlags(rawValue: number)
      default: break
      }
      let allowed: [UInt32: Int] = [128: 16, 1000: 4, 1001: 4, 1010: 4]
      if allowed[record.id] != record.value.count { fields.isPlain = false }
      offset += 8 + record.value.count
    }
    return .success(fields)
  }

  @Test func theScanAgreesWithANaiveReadingOfAnyRecords() {
    var random = SeededGenerator(seed: 10)
    let ids: [UInt32] = [1000, 1000, 1000, 1010, 1010, 1001, 128, 1, 2, 5, 1003, 1009, 1012, 1019, 0xffff_ffff]
    let sizes = [0, 1, 3, 4, 4, 4, 4, 4, 5, 8, 16, 16, 17]
    var outcomes: [String: Int] = [:]
    for _ in 0..<20_000 {
      let records: [Record] = (0..<Int.random(in: 0...5, using: &random)).map { _ in
        let id = ids.randomElement(using: &random) ?? 0
        let size =
          id == 1000 || id == 1010
          ? [4, 4, 4, 4, 4, 4, 4, 3, 16].randomElement(using: &random) ?? 0 : sizes.randomElement(using: &random) ?? 0
        return (id, (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) })
      }
      let expected = reference(records)
      #expect(scan(section(records)) == expected)
      switch expected {
      case .success(let fields): outcomes[fields.isPlain ? "plain" : "anew", default: 0] += 1
      case .failure(.duplicateHeader): outcomes["duplicate", default: 0] += 1
      case .failure: outcomes["width", default: 0] += 1
      }
    }
    // The generator reaches every outcome, often.
    #expect(outcomes.count == 4 && outcomes.values.allSatisfy { $0 > 200 }, "\(outcomes)")
  }

  @Test func twoConnIDsAreRefusedInWhateverOrder() {
    #expect(scan(section([(1000, le(1)), (1000, le(2))])) == .failure(.duplicateHeader(.connID)))
    #expect(
      scan(section([(1000, le(1)), (1010, le(1)), (1003, []), (1000, le(1))])) == .failure(.duplicateHeader(.connID)))
  }

  @Test func anAnswersNumberNeverCountsAsPayload() throws {
    #expect(try scan(section([(1000, le(1)), (1, le(9))])).get().isPlain == false)
    #expect(
      try scan(section([(1000, le(1)), (1001, le(9)), (1010, le(16)), (128, Array(repeating: 1, count: 16))])).get()
        .isPlain)
  }

  @Test(arguments: ["03a-go-sdk-dial-echo-plain", "06b-c-sdk-dial", "07b-python-0.6.0-dial"])
  func whatRealSDKsSendIsPlain(_ file: String) throws {
    var seen = 0
    for frame in try CapturedFrame.load(file) where frame.contentType == ContentType.data.rawValue {
      var bytes: [UInt8] = []
      try Message(parsing: hex(frame.raw)).headers.encode(into: &bytes)
      #expect(try scan(bytes).get().isPlain, "\(frame.name)")
      seen += 1
    }
    #expect(seen > 0)
  }
}

import Foundation

/// Times as HTTP writes them (RFC 9110, 5.6.7), in seconds since 1970.
enum HTTPDate {
  private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  static func text(_ seconds: Int64) -> String {
    let parts = Calendar.utc.dateComponents(
      [.year, .month, .day, .hour, .minute, .second, .weekday], from: Date(timeIntervalSince1970: Double(seconds)))
    func two(_ number: Int?) -> String {
      let text = "\(number ?? 0)"
      return text.count < 2 ? "0" + text : text
    }
    return
      "\(days[((parts.weekday ?? 1) - 1) % 7]), \(two(parts.day)) \(months[((parts.month ?? 1) - 1) % 12]) \(parts.year ?? 1970) "
      + "\(two(parts.hour)):\(two(parts.minute)):\(two(parts.second)) GMT"
  }

  /// All three forms that a server must understand; nil for anything else.
  static func seconds(_ text: String) -> Int64? {
    let words = text.split { " ,:-".contains($0) }
    // Sun, 06 Nov 1994 08:49:37 GMT | Sunday, 06-Nov-94 08:49:37 GMT | Sun Nov  6 08:49:37 1994
    let order: [Int]
    switch words.count {
    case 8 where words[7] == "GMT": order = [1, 2, 3, 4, 5, 6]
    case 7: order = [2, 1, 6, 3, 4, 5]
    default: return nil
    }
    guard days.contains(where: { words[0].hasPrefix($0) }),
      let month = months.firstIndex(where: { words[order[1]] == $0 })
    else { return nil }
    let numbers = [0, 2, 3, 4, 5].compactMap { index -> Int? in
      let word = words[order[index]]
      return word.utf8.count <= 4 && word.utf8.allSatisfy { (48...57).contains($0) } ? Int(word) : nil
    }
    guard numbers.count == 5, (1...31).contains(numbers[0]), numbers[2] < 24, numbers[3] < 60, numbers[4] <= 60 else {
      return nil
    }
    let year = words[order[2]].utf8.count == 2 ? numbers[1] + (numbers[1] < 70 ? 2000 : 1900) : numbers[1]
    guard year >= 1 else { return nil }
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let shifted = month < 2 ? year - 1 : year
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * ((month + 10) % 12) + 2) / 5 + numbers[0] - 1
    let day = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    return Int64(day) * 86_400 + Int64(numbers[2] * 3600 + numbers[3] * 60 + numbers[4])
  }
}

extension Calendar {
  /// Of HTTP and of listings.
  static let utc: Calendar = {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = TimeZone(secondsFromGMT: 0) ?? calendar.timeZone
    return calendar
  }()
}

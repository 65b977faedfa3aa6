extension XMLElement {
  /// As XML that can stand anywhere where no default namespace is declared: each element declares its own.
  var xml: String {
    var result = ""
    write(&result, inherited: "")
    return result
  }

  private func write(_ result: inout String, inherited: String) {
    result += "<\(name)"
    if namespace != inherited { result += " xmlns=\"\(Self.escaped(namespace))\"" }
    for (index, attribute) in attributes.enumerated() {
      switch attribute.namespace {
      case "": result += " \(attribute.name)"
      case Self.xmlNamespace: result += " xml:\(attribute.name)"
      default: result += " xmlns:a\(index)=\"\(Self.escaped(attribute.namespace))\" a\(index):\(attribute.name)"
      }
      result += "=\"\(Self.escaped(attribute.value))\""
    }
    guard !nodes.isEmpty else {
      result += "/>"
      return
    }
    result += ">"
    for node in nodes {
      switch node {
      case .text(let text): result += Self.escaped(text)
      case .element(let child): child.write(&result, inherited: namespace)
      }
    }
    result += "</\(name)>"
  }

  /// Line ends and tabs by their numbers, which no reader of an attribute changes.
  private static func escaped(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    for scalar in WebPage.escaped(text).unicodeScalars {
      if scalar == "\r" || scalar == "\n" || scalar == "\t" {
        result.append(contentsOf: "&#\(scalar.value);".unicodeScalars)
      } else {
        result.append(scalar)
      }
    }
    return String(result)
  }
}

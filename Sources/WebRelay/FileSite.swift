import Foundation
import NIOCore
import NIOHTTP1
import Transport

/// A directory as a web site: files with ranges and validators, `index.html`, and listings.
public final class FileSite: Site {
  private let path: String
  private let listsDirectories: Bool
  private let showsHidden: Bool
  private let longAnswers = Places.longAnswers()

  /// - Parameters:
  ///   - root: the directory; nothing outside what this path leads to at the time of a request is served.
  ///   - listsDirectories: whether a directory without an index shows what it holds.
  ///   - showsHidden: whether names that begin with a dot are served; `.well-known` always is.
  /// - Throws: when there is no such directory.
  public init(root: String, listsDirectories: Bool = true, showsHidden: Bool = false) throws {
    _ = try ConfinedRoot(root)
    path = root
    self.listsDirectories = listsDirectories
    self.showsHidden = showsHidden
  }

  func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> SiteAnswer {
    guard head.method == .GET || head.method == .HEAD else { return .page(.readingOnly) }
    let path = head.uri.prefix { $0 != "?" && $0 != "#" }
    do throws(ConfinedRoot.Failure) {
      let names = try FilePath(url: path)
      guard names.allSatisfy(isShown) else { throw .notFound }
      let root = try ConfinedRoot(self.path)
      let entry = try root.open(names)
      guard entry.isDirectory else {
        guard let name = names.last, !path.hasSuffix("/") else { throw .notFound }
        return .file(entry, name: name, head)
      }
      guard path.hasSuffix("/") else { return .page(DirectoryPage.slash(names, head.uri)) }
      do throws(ConfinedRoot.Failure) {
        let index = try root.open(names + [.index])
        if !index.isDirectory { return .file(index, name: .index, head) }
      } catch .notFound {}
      guard listsDirectories else { throw .notFound }
      switch Preconditions.judge(head.method, head.headers, .init(entry.status)) {
      case .failed: return .page(.preconditionFailed)
      // A listing changes with each entry; its directory's time does not tell.
      case .proceed, .notModified: break
      }
      let listed = ConfinedRoot.list(entry)
      let page = DirectoryPage.page(
        names, listed.filter { isShown($0.name) }, isCut: listed.count >= ConfinedRoot.listingLimit)
      return .long(page, longAnswers, head)
    } catch {
      return .page(.failure(error))
    }
  }

  private func isShown(_ name: FileName) -> Bool { (showsHidden || !name.isHidden) && !name.isTemporary }
}

/// One file as a web site, at its root and at its name.
public final class SingleFileSite: Site {
  private let path: String
  private let name: FileName

  /// - Parameter path: the file; what the path leads to at the time of a request is served, and nothing else.
  /// - Throws: when there is no such file.
  public init(path: String) throws {
    _ = try ConfinedRoot.file(path)
    guard let last = path.utf8.split(separator: UInt8(ascii: "/")).last, let name = FileName(bytes: Array(last)) else {
      throw ConfinedRoot.Failure.badPath
    }
    self.path = path
    self.name = name
  }

  func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> SiteAnswer {
    guard head.method == .GET || head.method == .HEAD else { return .page(.readingOnly) }
    let path = head.uri.prefix { $0 != "?" && $0 != "#" }
    do throws(ConfinedRoot.Failure) {
      let names = try FilePath(url: path)
      guard path == "/" || (names == [name] && !path.hasSuffix("/")) else { throw .notFound }
      // Whoever stores what is at the root has it under its name.
      return .file(
        try ConfinedRoot.file(self.path), name: name, head,
        ["content-disposition": "inline; filename*=UTF-8''\(name.encoded)"])
    } catch {
      return .page(.failure(error))
    }
  }
}

extension WebPage {
  fileprivate static let readingOnly = WebPage.text(
    status: .methodNotAllowed, "This site is for reading: GET and HEAD.\n", headers: [("allow", "GET, HEAD")])

  fileprivate static func failure(_ failure: ConfinedRoot.Failure) -> WebPage {
    switch failure {
    case .badPath:
      .html(
        status: .badRequest, title: "No such address", message: "The address is not one of this site.",
        hint: "Check it for a typo.")
    case .notFound:
      .html(
        status: .notFound, title: "Nothing here", message: "There is no file of this name.",
        hint: "Check the address, or go up one level.")
    case .forbidden:
      .html(
        status: .forbidden, title: "Not shared", message: "This file is not part of what is shared.",
        hint: "Go up one level.")
    case .failed(let code):
      .html(
        status: .internalServerError, title: "The file cannot be read", message: String(cString: strerror(code)),
        hint: "Try again, or tell the person who shares it.")
    }
  }
}

/// The release of zrok whose interfaces share services and agents of ours speak; programs look for its series.
package enum ZrokVersion {
  package static let spoken = "v2.0.4"
}

# A server of plain OpenSSL that asks clients for a certificate, takes them without one, and has set no session id
# context: OpenSSL then ends every resumption with an alert. Arguments: certificate, key, version (TLSv1_2 or TLSv1_3).
use strict;
use warnings;
use IO::Socket::SSL;

my ($cert, $key, $version) = @ARGV;
my $server = IO::Socket::SSL->new(
  Listen          => 20,
  LocalAddr       => '127.0.0.1',
  SSL_server      => 1,
  SSL_cert_file   => $cert,
  SSL_key_file    => $key,
  SSL_version     => $version,
  SSL_verify_mode => SSL_VERIFY_PEER,
  SSL_ca_file     => $cert,
) or die "no server: $!, $SSL_ERROR";
# This module sets one by itself.
Net::SSLeay::CTX_set_session_id_context(${*$server}{_SSL_ctx}{context}, '', 0);
$| = 1;
print $server->sockport, "\n";
while (1) {
  my $client = $server->accept or next;
  while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
  print $client "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
  close $client;
}

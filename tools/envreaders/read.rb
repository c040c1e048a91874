# SPDX-License-Identifier: Apache-2.0

# Reads every env file of a folder with ruby's dotenv, and prints what it reads: reader, file, key and value in hexadecimal.
require "dotenv"

Encoding.default_external = Encoding::UTF_8
lines = []
Dir.children(ARGV[0]).each do |name|
  lines << "ruby\t#{name}\t!"
  begin
    Dotenv::Environment.new(File.join(ARGV[0], name), true).each do |key, value|
      lines << "ruby\t#{name}\t#{key.unpack1('H*')}\t#{value.to_s.unpack1('H*')}"
    end
  rescue Dotenv::FormatError, ArgumentError
    next
  end
end
puts lines

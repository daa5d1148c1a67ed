#!/bin/sh
# Databases and roles of every service, on a new server: an owner, the application, the relay, and who checks; they enter their own database alone.
set -eu
sql() { psql -v ON_ERROR_STOP=1 -v password="$ENCOURS_DATABASE_PASSWORD" -U postgres; }
for service in invoicing matching scoring dunning reporting partners; do
  for role in "$service" "${service}_owner" "${service}_relay" "${service}_check"; do
    echo "CREATE ROLE $role LOGIN PASSWORD :'password'; ALTER ROLE $role SET app.tenants = '{}';" | sql
  done
  sql <<SQL
ALTER ROLE ${service}_check BYPASSRLS;
CREATE DATABASE $service OWNER ${service}_owner;
REVOKE ALL ON DATABASE $service FROM PUBLIC;
GRANT CONNECT ON DATABASE $service TO $service, ${service}_relay, ${service}_check;
SQL
done

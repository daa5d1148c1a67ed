#!/bin/sh
# Databases and roles of every service, on a new server: an owner, the application, the relay, and who checks.
set -eu
for service in invoicing matching scoring dunning reporting partners; do
  for role in "$service" "${service}_owner" "${service}_relay" "${service}_check"; do
    psql -v ON_ERROR_STOP=1 -U postgres -c "CREATE ROLE $role LOGIN PASSWORD '$ENCOURS_DATABASE_PASSWORD'" -c "ALTER ROLE $role SET app.tenants = '{}'"
  done
  psql -v ON_ERROR_STOP=1 -U postgres -c "ALTER ROLE ${service}_check BYPASSRLS" -c "CREATE DATABASE $service OWNER ${service}_owner"
done

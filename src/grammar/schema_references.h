// References by name and by address within one schema.
#pragma once

#include "grammar/schema_text.h"

namespace anser {

// Writes references by $anchor, $dynamicAnchor and $id (draft 4's id, too) as '#/...' from the
// root. Those that lead out of the schema, and those that could mean several places, stay as they
// are.
void write_references_from_root(Schema& root, CompileBudget& budget);

}  // namespace anser
